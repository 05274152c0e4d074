"""Regions that may hold an object, for the detectors that are given them: found, kept on disk, read from files."""
