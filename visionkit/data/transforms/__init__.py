"""Random augmentation of the training split."""
