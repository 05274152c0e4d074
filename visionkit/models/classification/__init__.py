"""Classification networks: one label for each image."""
