"""Statistics of a dataset: check, class counts, object sizes, distributions, colors."""
