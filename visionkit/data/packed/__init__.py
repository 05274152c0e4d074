"""The packed format: shards of encoded images in LitData's chunk layout, and annotations in mapped tables."""
