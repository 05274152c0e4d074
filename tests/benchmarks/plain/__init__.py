"""Plain scripts: what a user of PyTorch writes without visionkit, with the same weights and the same time."""
