"""Classification models: one label per image, or any number of them."""
