"""Classification networks: one label for each picture."""
