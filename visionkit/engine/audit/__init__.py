"""Audit of a dataset: checks that find faults in images, splits, objects and labels. One file for each check."""
