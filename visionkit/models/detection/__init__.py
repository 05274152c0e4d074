"""Detection models: boxes, scores and labels of the objects in each image."""
