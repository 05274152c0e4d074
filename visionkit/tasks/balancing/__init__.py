"""Balancing of the losses of several heads on one backbone, one way per file."""

from visionkit.tasks.balancing.base import LossBalancer, balancers

__all__ = ["LossBalancer", "balancers"]
