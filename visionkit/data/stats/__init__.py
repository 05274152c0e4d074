"""Statistics of a data set: check, class counts, object sizes, colors."""
