"""Classes and tags: logistic regression on the pooled features of EfficientNet-Lite0, whose weights stay as they are.

It stops when it is done, or earlier than the time if not all images can be read in half of it.
"""

import warnings

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import ConcatDataset, Dataset, Subset
from torchvision.transforms import v2

from tests.benchmarks.plain.shared import MEAN, STD, Clock, Options, main, read_weights
from visionkit.data.datasets.base import VisionDataset
from visionkit.data.io.images import to_tensor
from visionkit.metrics.classification import MultiLabelMetrics, SingleLabelMetrics
from visionkit.metrics.results import MetricResults
from visionkit.structures import Sample

DEFAULTS = {"size": 224}

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Values of C to choose from, the inverse of the regularization; features are standardized."""

CROSS_VALIDATED = 2000
"""Number of images that C is chosen on. More would take longer than the features."""


@torch.inference_mode()
def features(dataset: Dataset[Sample], size: int, clock: Clock | None = None) -> NDArray[np.float32]:
    """Return the features of the images, of as many as half of the time is enough for."""
    model = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    model.load_state_dict(read_weights(), strict=False)  # the file also has the classifier
    model = model.eval().to(memory_format=torch.channels_last)
    prepare = v2.Compose([v2.Resize(size, v2.InterpolationMode.BICUBIC), v2.ToDtype(torch.float32, scale=True)])
    normalize, found = v2.Normalize(MEAN, STD), []
    for index in range(len(dataset)):
        if clock is not None and clock.share() > 0.5:
            break
        image = normalize(prepare(to_tensor(dataset[index].image)))[None]
        found.append(model(image.contiguous(memory_format=torch.channels_last))[0].numpy())
    return np.array(found)


def labels(dataset: VisionDataset) -> NDArray[np.int64]:
    """Return the class of each image, or 0 and 1 for each image and tag."""
    tags = [dataset.tags(index) for index in range(len(dataset))]
    if dataset.label(0) is None:
        return np.array([np.isin(range(len(dataset.class_names)), found) for found in tags], np.int64)
    return np.array([dataset.label(index) for index in range(len(dataset))])


def create(strength: float, multi_label: bool) -> Pipeline:
    """Return the classifier."""
    regression = LogisticRegression(C=strength, max_iter=1000)
    return make_pipeline(StandardScaler(), OneVsRestClassifier(regression) if multi_label else regression)


def loss(strength: float, inputs: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Return the cross-validated log loss."""
    model = create(strength, truth.ndim > 1)
    found = cross_val_predict(model, inputs, truth, cv=5, method="predict_proba")
    return log_loss(truth.ravel(), found.ravel() if truth.ndim > 1 else found)


def fit(options: Options) -> Pipeline:
    """Train on the split `train`, and on `val` too if it is a part of the training images that the card holds out."""
    warnings.simplefilter("ignore")  # a fold without images of a tag
    names = ["train"] if options.data.splits.holdout is None else ["train", "val"]
    datasets = [options.data.dataset(name) for name in names]
    order = np.random.default_rng(options.seed).permutation(sum(map(len, datasets)))
    inputs = features(Subset(ConcatDataset(datasets), order.tolist()), options.size, options.clock)
    truth = np.concatenate([labels(dataset) for dataset in datasets])[order[: len(inputs)]]
    few = slice(CROSS_VALIDATED)
    strength = min(STRENGTHS, key=lambda strength: loss(strength, inputs[few], truth[few]))
    print(f"{len(inputs)} images, C={strength:g}")
    return create(strength, truth.ndim > 1).fit(inputs, truth)


def score(options: Options, saved: Pipeline) -> MetricResults:
    """Return the metrics of the images of a split."""
    dataset = options.data.dataset(options.split)
    truth = torch.from_numpy(labels(dataset))
    metrics = (MultiLabelMetrics if truth.ndim > 1 else SingleLabelMetrics)(dataset.class_names)
    metrics.update(torch.from_numpy(saved.predict_proba(features(dataset, options.size))), truth)
    return metrics.compute()


if __name__ == "__main__":
    main(fit, score, DEFAULTS)
