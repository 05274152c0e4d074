"""Class index of ignored pixels."""

IGNORE = 255
"""Value in a semantic mask of pixels that losses and metrics ignore."""
