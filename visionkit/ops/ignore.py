"""The class that is none."""

IGNORE = 255
"""In a mask of classes: pixels that neither teach nor count."""
