"""Result of one image from a model with several heads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from typing_extensions import Self

from visionkit.pipelines.results import MinScore, Result, per_class


@dataclass
class MultiResult(Result):
    """Results of all heads for one image.

    Attributes:
        class_names: classes of all heads, as "head/class".
        labels: predicted classes of all heads, head after head.
        heads: result of each head.

    Example:
        >>> import numpy as np
        >>> import visionkit as vk
        >>> tags = vk.ClassificationResult(None, ["day", "night"], np.array([1, 0]), np.array([0.7, 0.3], np.float32))
        >>> result = vk.MultiResult.of_heads({"tags": tags})
        >>> result.filter(min_score=0.5).names, result.rows()[0]
        (['tags/night'], {'head': 'tags', 'name': 'night', 'score': 0.699999988079071})
    """

    columns: ClassVar[tuple[str, ...]] = ("head", "name", "score", "share", "x1", "y1", "x2", "y2")

    heads: dict[str, Result]

    @classmethod
    def of_heads(cls, heads: Mapping[str, Result]) -> Self:
        """Return the result with those of the heads, which are of one image."""
        names, labels = list[str](), [np.zeros(0, np.int64)]
        for head, result in heads.items():
            labels.append(result.labels + len(names))
            names += [f"{head}/{name}" for name in result.class_names]
        first = next(iter(heads.values()))
        return cls(first.source, names, np.concatenate(labels), dict(heads))

    def filter(self, min_score: MinScore) -> Self:
        """See `Result.filter`; thresholds of the classes are those of all heads, head after head."""
        thresholds = per_class(min_score, len(self.class_names))
        ends = np.cumsum([len(result.class_names) for result in self.heads.values()])
        parts = np.split(thresholds, ends[:-1])
        heads = zip(self.heads.items(), parts, strict=True)
        return self.of_heads({name: result.filter(part) for (name, result), part in heads})

    def rows(self) -> list[dict[str, Any]]:
        """See `Result.rows`. Each row has the name of its head, and the columns that its kind of result has."""
        return [{"head": name, **row} for name, result in self.heads.items() for row in result.rows()]

    def to_dict(self) -> dict[str, Any]:
        """See `Result.to_dict`."""
        heads = {name: result.to_dict() for name, result in self.heads.items()}
        images = [values.pop("image") for values in heads.values()]
        return {"image": images[0], "heads": heads}

    def images(self) -> dict[str, Image.Image]:
        """See `Result.images`; the kinds have the name of the head in front, such as "regions_masks"."""
        return {
            f"{name}_{kind}": image for name, result in self.heads.items() for kind, image in result.images().items()
        }
