"""From files to samples and batches."""
