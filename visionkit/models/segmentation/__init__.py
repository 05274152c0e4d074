"""Segmentation networks: one label for each pixel."""
