"""Dataset readers: one file per format, and their base classes."""
