"""Segmentation models: one label for each pixel."""
