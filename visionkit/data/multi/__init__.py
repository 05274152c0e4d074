"""Data of several heads: the images of several data cards, each with labels for some heads."""
