"""Arguments of each command, and checks that do not need torch. The modules of `visionkit.cli` do the work."""
