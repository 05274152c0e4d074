"""Detection networks: boxes, scores and labels for each image."""
