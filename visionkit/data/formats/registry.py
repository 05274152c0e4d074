"""The names of the data formats."""

from visionkit.data.sample import VisionDataset
from visionkit.registry import Registry

formats: Registry[type[VisionDataset]] = Registry("data format")
"""Each entry is called as `reader(root=..., **split_options)`, with `classes` where the card lists them."""
