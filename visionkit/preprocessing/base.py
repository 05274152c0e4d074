"""The contract of preprocessing modules."""

from torch import nn


class Preprocessing(nn.Module):
    """Base class of the modules that resize and normalize images for a model."""

    def loader_size(self, height: int, width: int) -> tuple[int, int] | None:
        """Return the size to which a data loader may resize an image for training, in pixels and without padding.

        The module does not resize the image again. None if the loader must not resize it.
        """
        return None
