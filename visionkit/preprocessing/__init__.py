"""Deterministic resizing and normalization of images, and its inverse; one file per task."""
