"""The actions of `visionkit tune`."""
