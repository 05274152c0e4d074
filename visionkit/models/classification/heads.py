"""Classification heads: logits from a backbone's deepest map, for the whole image or at each position."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from visionkit.backbones.base import Backbone, Stage
from visionkit.errors import ConfigError
from visionkit.registry import Registry


class Head(nn.Module):
    """Base of classification heads, which compute logits from a backbone's deepest map.

    A registered head is built as `head(backbone, num_classes, dropout)`; a dropout of None is the published one.

    Attributes:
        published_layers: prefixes of the head's keys in published state dicts of the whole network, and the prefixes
            that replace them here.
    """

    published_layers: ClassVar[Mapping[str, str]] = {}

    def forward(self, deepest: Tensor) -> Tensor:
        """Compute logits of whole images.

        Args:
            deepest: [B, C, h, w], the backbone's deepest map.

        Returns:
            Logits [B, K].
        """
        raise NotImplementedError

    def pool(self, deepest: Tensor) -> Tensor:
        """Reduce the map to the features that `forward` needs: it returns the same logits for both.

        Args:
            deepest: [B, C, h, w], the backbone's deepest map.

        Returns:
            [B, C, h', w']; by default the map itself.
        """
        return deepest

    def fully_convolutional(self, deepest: Tensor) -> Tensor:
        """Compute logits at every position, with fully connected layers as convolutions (Sermanet et al. 2013, 3.5).

        Args:
            deepest: [B, C, h, w], the backbone's deepest map.

        Returns:
            Logits [B, K, h', w']: at each position those of `forward` for a window of the map, as large as the map of
            an image of the network's native size.
        """
        raise NotImplementedError

    def auxiliary_logits(self, inner: Mapping[str, Tensor]) -> list[tuple[float, Tensor]]:
        """Compute the logits of auxiliary heads, which are used in training.

        Args:
            inner: maps inside the backbone, see `Backbone.forward_with_inner_maps`.

        Returns:
            Loss weight and logits [B, K] of each auxiliary head; most heads have none.
        """
        return []

    def translate(self, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the entries of a published state dict that belong to this head, under its own keys."""
        return {
            own + key.removeprefix(theirs): value
            for key, value in published.items()
            for theirs, own in self.published_layers.items()
            if key.startswith(theirs)
        }


FULL_WIDTH = 4096
"""Number of units of fc6 and fc7, in AlexNet and VGG."""

heads: Registry[Callable[[Backbone, int, float | None], Head]] = Registry("head", "visionkit.models.classification")


@heads.register("average")
class AverageHead(Head):
    """Global average pooling and one linear layer (Lin et al. 2013; ResNet, DenseNet).

    Args:
        backbone: the backbone that the head is for.
        num_classes: K.
        dropout: dropout probability of the pooled map; None is 0.
    """

    published_layers: ClassVar[Mapping[str, str]] = {"fc.": "fc.", "classifier.": "fc."}

    def __init__(self, backbone: Backbone, num_classes: int, dropout: float | None = None) -> None:
        super().__init__()
        stage = deepest_stage(backbone)
        self.cells = max((backbone.native_size - stage.margin) // stage.stride, 1)
        self.dropout = nn.Dropout(dropout or 0.0)
        self.fc = nn.Linear(stage.channels, num_classes)

    def forward(self, deepest: Tensor) -> Tensor:
        """See `Head.forward`."""
        return self.fc(self.dropout(self.pool(deepest).flatten(1)))

    def pool(self, deepest: Tensor) -> Tensor:
        """See `Head.pool`; the mean over all positions."""
        return functional.adaptive_avg_pool2d(deepest, 1)

    def fully_convolutional(self, deepest: Tensor) -> Tensor:
        """See `Head.fully_convolutional`; a map smaller than that of the native size has one position."""
        height, width = deepest.shape[2:]
        window = (min(self.cells, height), min(self.cells, width))
        means = self.dropout(functional.avg_pool2d(deepest, window, stride=1))
        return functional.conv2d(means, self.fc.weight[:, :, None, None], self.fc.bias)


class FullyConnectedHead(Head):
    """Fully connected layers on the flattened map; before the first linear layer there may be dropout.

    Maps of another size are resized to that of the first layer by adaptive average pooling, as in torchvision.

    Args:
        cells: height and width of the map that the first linear layer takes.
        layers: layers by name, in order.
    """

    def __init__(self, cells: int, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.cells = cells
        self.layers = nn.Sequential(OrderedDict(layers))

    def forward(self, deepest: Tensor) -> Tensor:
        """See `Head.forward`."""
        return self.layers(functional.adaptive_avg_pool2d(deepest, self.cells).flatten(1))

    def fully_convolutional(self, deepest: Tensor) -> Tensor:
        """See `Head.fully_convolutional`.

        Raises:
            ConfigError: the map is smaller than that of the native size.
        """
        if min(deepest.shape[2:]) < self.cells:
            height, width = deepest.shape[2:]
            raise ConfigError(
                f"dense classification needs a map of at least {self.cells}x{self.cells} cells, not {height}x{width}: "
                "use larger images"
            )
        x, windows = deepest, True
        for layer in self.layers:
            if windows and isinstance(layer, nn.Linear):
                kernel = layer.weight.unflatten(1, (-1, self.cells, self.cells))
                # The channels are last from here on: linear layers need that, the others allow it.
                x, windows = functional.conv2d(x, kernel, layer.bias).movedim(1, -1), False
            else:
                x = layer(x)
        return x.movedim(-1, 1)


@heads.register("vgg")
class VGGHead(FullyConnectedHead):
    """Two layers of 4096 units with dropout, and an output layer (Simonyan & Zisserman 2014, table 1).

    Args:
        backbone: the backbone that the head is for.
        num_classes: K.
        dropout: dropout probability after fc6 and fc7; None is 0.5 (section 3.1).
    """

    published_layers: ClassVar[Mapping[str, str]] = {
        "classifier.0.": "layers.fc6.",
        "classifier.3.": "layers.fc7.",
        "classifier.6.": "layers.fc8.",
    }

    def __init__(self, backbone: Backbone, num_classes: int, dropout: float | None = None) -> None:
        probability = 0.5 if dropout is None else dropout
        layers = {
            "fc6": normal_linear(deepest_stage(backbone).channels * 7 * 7, FULL_WIDTH),
            "relu6": nn.ReLU(inplace=True),
            "drop6": nn.Dropout(probability),
            "fc7": normal_linear(FULL_WIDTH, FULL_WIDTH),
            "relu7": nn.ReLU(inplace=True),
            "drop7": nn.Dropout(probability),
            "fc8": normal_linear(FULL_WIDTH, num_classes),
        }
        super().__init__(7, layers)


@heads.register("alexnet")
class AlexNetHead(FullyConnectedHead):
    """Two layers of 4096 units after dropout, and an output layer (Krizhevsky et al. 2012, sections 3.5 and 4.2).

    The biases of the two layers are initialized to 1 (section 5). ZFNet has the same head.

    Args:
        backbone: the backbone that the head is for.
        num_classes: K.
        dropout: dropout probability before fc6 and fc7; None is 0.5.
    """

    def __init__(self, backbone: Backbone, num_classes: int, dropout: float | None = None) -> None:
        probability = 0.5 if dropout is None else dropout
        layers = {
            "drop6": nn.Dropout(probability),
            "fc6": normal_linear(deepest_stage(backbone).channels * 6 * 6, FULL_WIDTH, bias=1.0),
            "relu6": nn.ReLU(inplace=True),
            "drop7": nn.Dropout(probability),
            "fc7": normal_linear(FULL_WIDTH, FULL_WIDTH, bias=1.0),
            "relu7": nn.ReLU(inplace=True),
            "fc8": normal_linear(FULL_WIDTH, num_classes),
        }
        super().__init__(6, layers)


def deepest_stage(backbone: Backbone) -> Stage:
    """Return the deepest of the stages that `backbone` returns."""
    return list(backbone.stages.values())[-1]


def normal_linear(inputs: int, outputs: int, bias: float = 0.0) -> nn.Linear:
    """Return a linear layer with normal weights and equal biases, as in VGG (section 3.1) and AlexNet (section 5)."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.constant_(layer.bias, bias)
    return layer
