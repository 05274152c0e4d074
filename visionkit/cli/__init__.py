"""Command line. Importing this package does not import torch."""
