"""Reading and writing files: images, masks, paths, downloads, atomic writes."""
