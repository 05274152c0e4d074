"""Composition and validation of recipes, and construction of the objects that they describe."""
