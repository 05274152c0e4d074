"""The names of the backbones."""

from collections.abc import Callable

from visionkit.backbones.contract import Backbone
from visionkit.registry import Registry

backbones: Registry[Callable[..., Backbone]] = Registry("backbone")
"""Each entry is called as `entry(name, out_stages=..., **options)` and returns the network with random values."""
