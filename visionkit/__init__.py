"""visionkit: classification, detection and segmentation with PyTorch Lightning.

`import visionkit` is fast: a name is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visionkit.backbones.base import Backbone, Stage, register_backbone
    from visionkit.backbones.create import create_backbone, list_backbones
    from visionkit.backbones.sequential import SequentialBackbone
    from visionkit.data.datamodule import VisionData
    from visionkit.data.datasets.base import VisionDataset, register_format
    from visionkit.data.datasets.pair_targets import PairTargets
    from visionkit.data.datasets.torch_pairs import TorchPairs
    from visionkit.data.exclude import ExcludeOptions
    from visionkit.data.holdout import HoldoutOptions
    from visionkit.data.multi.multi_data import MultiData
    from visionkit.data.packed.stream_options import StreamOptions
    from visionkit.data.proposals.proposal_source import ProposalOptions
    from visionkit.data.transforms.create import register_transform
    from visionkit.engine.after_training import AfterTrainingOptions
    from visionkit.engine.callbacks import CheckpointOptions, EarlyStoppingOptions, EMAOptions, make_callbacks
    from visionkit.engine.feature_cache import FeatureCacheOptions
    from visionkit.engine.logger_options import (
        LoggerOptions,
        MLflowOptions,
        TensorBoardOptions,
        WandbOptions,
        register_logger,
    )
    from visionkit.engine.unfreeze import UnfreezeStep
    from visionkit.errors import CheckpointError, ConfigError, DataError, StoppedError, VisionkitError, WriteError
    from visionkit.metrics.detection import DetectionMetric, register_metric
    from visionkit.metrics.results import MetricResults
    from visionkit.models.base import ClassificationModel, DetectionModel, Model, SegmentationModel
    from visionkit.models.classification.classifier import Classifier
    from visionkit.models.create import create_model, list_models, register_model
    from visionkit.models.detection.fast_rcnn import FastRCNN
    from visionkit.models.detection.faster_rcnn import FasterRCNN
    from visionkit.models.detection.from_torchvision import FromTorchvision
    from visionkit.models.detection.mask_rcnn import MaskRCNN
    from visionkit.models.detection.parts.anchors import AnchorOptions
    from visionkit.models.detection.parts.roi_heads import RoIOptions
    from visionkit.models.detection.parts.rpn import RPNOptions
    from visionkit.models.detection.parts.yolo_loss_weights import YOLOLossWeights
    from visionkit.models.detection.rcnn.rcnn import RCNN, BoxRegressionOptions, SVMOptions
    from visionkit.models.detection.retinanet import RetinaNet
    from visionkit.models.detection.rfcn import RFCN
    from visionkit.models.detection.sliding_window import SlidingWindow, WindowOptions, WindowSamplingOptions
    from visionkit.models.detection.ssd import SSD
    from visionkit.models.detection.yolov1 import YOLOv1
    from visionkit.models.detection.yolov2 import YOLOv2
    from visionkit.models.multi_head import MultiHead
    from visionkit.models.segmentation.deconvnet import DeconvNet
    from visionkit.models.segmentation.deeplabv3 import DeepLabV3
    from visionkit.models.segmentation.fc_densenet import FCDenseNet
    from visionkit.models.segmentation.fcn import FCN8s, FCN16s, FCN32s
    from visionkit.models.segmentation.frrn import FRRN
    from visionkit.models.segmentation.patch_classifier import PatchClassifier
    from visionkit.models.segmentation.segnet import SegNet
    from visionkit.models.segmentation.semantic_fpn import SemanticFPN
    from visionkit.models.segmentation.unet import UNet
    from visionkit.ops.focal_loss import FocalLossOptions
    from visionkit.ops.nms import NMSOptions
    from visionkit.ops.segmentation_losses import register_loss
    from visionkit.pipelines.base import Pipeline
    from visionkit.pipelines.checkpoint import load
    from visionkit.pipelines.classification import ClassificationInferenceOptions, ClassificationPipeline
    from visionkit.pipelines.detection import DetectionInferenceOptions, DetectionPipeline
    from visionkit.pipelines.ensembles import (
        ClassificationEnsemble,
        DetectionEnsemble,
        SegmentationEnsemble,
        make_ensemble,
    )
    from visionkit.pipelines.multi import MultiPipeline
    from visionkit.pipelines.multi_result import MultiResult
    from visionkit.pipelines.results import ClassificationResult, DetectionResult, Result, SegmentationResult
    from visionkit.pipelines.runtime import RuntimeOptions
    from visionkit.pipelines.segmentation import SegmentationInferenceOptions, SegmentationPipeline
    from visionkit.plugins import import_file
    from visionkit.preprocessing.classification import ClassificationPreprocessOptions
    from visionkit.preprocessing.detection import DetectionPreprocessOptions
    from visionkit.preprocessing.segmentation import SegmentationPreprocessOptions
    from visionkit.structures import Annotation, Prediction, Sample, Target
    from visionkit.tasks.balancing.options import BalancingOptions
    from visionkit.tasks.base import Task
    from visionkit.tasks.classification import (
        Classification,
        ClassificationEvaluationOptions,
        ClassificationLossOptions,
    )
    from visionkit.tasks.detection import Detection, DetectionEvaluationOptions
    from visionkit.tasks.mixing import MixingOptions
    from visionkit.tasks.multi import MultiEvaluationOptions, MultiTask
    from visionkit.tasks.optimizers import OptimizerOptions, register_optimizer
    from visionkit.tasks.schedules import ScheduleOptions, register_schedule
    from visionkit.tasks.segmentation import Segmentation, SegmentationEvaluationOptions, SegmentationLossOptions

__version__ = "0.1.0"

__all__ = [
    "FRRN",
    "RCNN",
    "RFCN",
    "SSD",
    "AfterTrainingOptions",
    "AnchorOptions",
    "Annotation",
    "Backbone",
    "BalancingOptions",
    "BoxRegressionOptions",
    "CheckpointError",
    "CheckpointOptions",
    "Classification",
    "ClassificationEnsemble",
    "ClassificationEvaluationOptions",
    "ClassificationInferenceOptions",
    "ClassificationLossOptions",
    "ClassificationModel",
    "ClassificationPipeline",
    "ClassificationPreprocessOptions",
    "ClassificationResult",
    "Classifier",
    "ConfigError",
    "DataError",
    "DeconvNet",
    "DeepLabV3",
    "Detection",
    "DetectionEnsemble",
    "DetectionEvaluationOptions",
    "DetectionInferenceOptions",
    "DetectionMetric",
    "DetectionModel",
    "DetectionPipeline",
    "DetectionPreprocessOptions",
    "DetectionResult",
    "EMAOptions",
    "EarlyStoppingOptions",
    "ExcludeOptions",
    "FCDenseNet",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "FastRCNN",
    "FasterRCNN",
    "FeatureCacheOptions",
    "FocalLossOptions",
    "FromTorchvision",
    "HoldoutOptions",
    "LoggerOptions",
    "MLflowOptions",
    "MaskRCNN",
    "MetricResults",
    "MixingOptions",
    "Model",
    "MultiData",
    "MultiEvaluationOptions",
    "MultiHead",
    "MultiPipeline",
    "MultiResult",
    "MultiTask",
    "NMSOptions",
    "OptimizerOptions",
    "PairTargets",
    "PatchClassifier",
    "Pipeline",
    "Prediction",
    "ProposalOptions",
    "RPNOptions",
    "Result",
    "RetinaNet",
    "RoIOptions",
    "RuntimeOptions",
    "SVMOptions",
    "Sample",
    "ScheduleOptions",
    "SegNet",
    "Segmentation",
    "SegmentationEnsemble",
    "SegmentationEvaluationOptions",
    "SegmentationInferenceOptions",
    "SegmentationLossOptions",
    "SegmentationModel",
    "SegmentationPipeline",
    "SegmentationPreprocessOptions",
    "SegmentationResult",
    "SemanticFPN",
    "SequentialBackbone",
    "SlidingWindow",
    "Stage",
    "StoppedError",
    "StreamOptions",
    "Target",
    "Task",
    "TensorBoardOptions",
    "TorchPairs",
    "UNet",
    "UnfreezeStep",
    "VisionData",
    "VisionDataset",
    "VisionkitError",
    "WandbOptions",
    "WindowOptions",
    "WindowSamplingOptions",
    "WriteError",
    "YOLOLossWeights",
    "YOLOv1",
    "YOLOv2",
    "__version__",
    "create_backbone",
    "create_model",
    "import_file",
    "list_backbones",
    "list_models",
    "load",
    "make_callbacks",
    "make_ensemble",
    "register_backbone",
    "register_format",
    "register_logger",
    "register_loss",
    "register_metric",
    "register_model",
    "register_optimizer",
    "register_schedule",
    "register_transform",
]

_MODULES = {
    "Backbone": "visionkit.backbones.base",
    "Stage": "visionkit.backbones.base",
    "register_backbone": "visionkit.backbones.base",
    "create_backbone": "visionkit.backbones.create",
    "list_backbones": "visionkit.backbones.create",
    "SequentialBackbone": "visionkit.backbones.sequential",
    "VisionData": "visionkit.data.datamodule",
    "VisionDataset": "visionkit.data.datasets.base",
    "register_format": "visionkit.data.datasets.base",
    "PairTargets": "visionkit.data.datasets.pair_targets",
    "TorchPairs": "visionkit.data.datasets.torch_pairs",
    "ProposalOptions": "visionkit.data.proposals.proposal_source",
    "ExcludeOptions": "visionkit.data.exclude",
    "HoldoutOptions": "visionkit.data.holdout",
    "MultiData": "visionkit.data.multi.multi_data",
    "StreamOptions": "visionkit.data.packed.stream_options",
    "register_transform": "visionkit.data.transforms.create",
    "AfterTrainingOptions": "visionkit.engine.after_training",
    "CheckpointOptions": "visionkit.engine.callbacks",
    "EarlyStoppingOptions": "visionkit.engine.callbacks",
    "EMAOptions": "visionkit.engine.callbacks",
    "make_callbacks": "visionkit.engine.callbacks",
    "FeatureCacheOptions": "visionkit.engine.feature_cache",
    "LoggerOptions": "visionkit.engine.logger_options",
    "MLflowOptions": "visionkit.engine.logger_options",
    "TensorBoardOptions": "visionkit.engine.logger_options",
    "WandbOptions": "visionkit.engine.logger_options",
    "register_logger": "visionkit.engine.logger_options",
    "UnfreezeStep": "visionkit.engine.unfreeze",
    "CheckpointError": "visionkit.errors",
    "ConfigError": "visionkit.errors",
    "DataError": "visionkit.errors",
    "VisionkitError": "visionkit.errors",
    "StoppedError": "visionkit.errors",
    "WriteError": "visionkit.errors",
    "DetectionMetric": "visionkit.metrics.detection",
    "register_metric": "visionkit.metrics.detection",
    "MetricResults": "visionkit.metrics.results",
    "ClassificationModel": "visionkit.models.base",
    "DetectionModel": "visionkit.models.base",
    "Model": "visionkit.models.base",
    "SegmentationModel": "visionkit.models.base",
    "Classifier": "visionkit.models.classification.classifier",
    "create_model": "visionkit.models.create",
    "list_models": "visionkit.models.create",
    "register_model": "visionkit.models.create",
    "FastRCNN": "visionkit.models.detection.fast_rcnn",
    "FasterRCNN": "visionkit.models.detection.faster_rcnn",
    "FromTorchvision": "visionkit.models.detection.from_torchvision",
    "MaskRCNN": "visionkit.models.detection.mask_rcnn",
    "AnchorOptions": "visionkit.models.detection.parts.anchors",
    "RoIOptions": "visionkit.models.detection.parts.roi_heads",
    "RPNOptions": "visionkit.models.detection.parts.rpn",
    "YOLOLossWeights": "visionkit.models.detection.parts.yolo_loss_weights",
    "BoxRegressionOptions": "visionkit.models.detection.rcnn.rcnn",
    "RCNN": "visionkit.models.detection.rcnn.rcnn",
    "SVMOptions": "visionkit.models.detection.rcnn.rcnn",
    "RetinaNet": "visionkit.models.detection.retinanet",
    "RFCN": "visionkit.models.detection.rfcn",
    "SlidingWindow": "visionkit.models.detection.sliding_window",
    "WindowOptions": "visionkit.models.detection.sliding_window",
    "WindowSamplingOptions": "visionkit.models.detection.sliding_window",
    "SSD": "visionkit.models.detection.ssd",
    "YOLOv1": "visionkit.models.detection.yolov1",
    "YOLOv2": "visionkit.models.detection.yolov2",
    "MultiHead": "visionkit.models.multi_head",
    "DeconvNet": "visionkit.models.segmentation.deconvnet",
    "DeepLabV3": "visionkit.models.segmentation.deeplabv3",
    "FCDenseNet": "visionkit.models.segmentation.fc_densenet",
    "FCN8s": "visionkit.models.segmentation.fcn",
    "FCN16s": "visionkit.models.segmentation.fcn",
    "FCN32s": "visionkit.models.segmentation.fcn",
    "FRRN": "visionkit.models.segmentation.frrn",
    "PatchClassifier": "visionkit.models.segmentation.patch_classifier",
    "SegNet": "visionkit.models.segmentation.segnet",
    "SemanticFPN": "visionkit.models.segmentation.semantic_fpn",
    "UNet": "visionkit.models.segmentation.unet",
    "FocalLossOptions": "visionkit.ops.focal_loss",
    "NMSOptions": "visionkit.ops.nms",
    "register_loss": "visionkit.ops.segmentation_losses",
    "Pipeline": "visionkit.pipelines.base",
    "load": "visionkit.pipelines.checkpoint",
    "ClassificationInferenceOptions": "visionkit.pipelines.classification",
    "ClassificationPipeline": "visionkit.pipelines.classification",
    "DetectionInferenceOptions": "visionkit.pipelines.detection",
    "DetectionPipeline": "visionkit.pipelines.detection",
    "ClassificationEnsemble": "visionkit.pipelines.ensembles",
    "DetectionEnsemble": "visionkit.pipelines.ensembles",
    "SegmentationEnsemble": "visionkit.pipelines.ensembles",
    "make_ensemble": "visionkit.pipelines.ensembles",
    "ClassificationResult": "visionkit.pipelines.results",
    "DetectionResult": "visionkit.pipelines.results",
    "Result": "visionkit.pipelines.results",
    "MultiPipeline": "visionkit.pipelines.multi",
    "MultiResult": "visionkit.pipelines.multi_result",
    "SegmentationResult": "visionkit.pipelines.results",
    "RuntimeOptions": "visionkit.pipelines.runtime",
    "SegmentationInferenceOptions": "visionkit.pipelines.segmentation",
    "SegmentationPipeline": "visionkit.pipelines.segmentation",
    "import_file": "visionkit.plugins",
    "ClassificationPreprocessOptions": "visionkit.preprocessing.classification",
    "DetectionPreprocessOptions": "visionkit.preprocessing.detection",
    "SegmentationPreprocessOptions": "visionkit.preprocessing.segmentation",
    "Annotation": "visionkit.structures",
    "Prediction": "visionkit.structures",
    "Sample": "visionkit.structures",
    "Target": "visionkit.structures",
    "BalancingOptions": "visionkit.tasks.balancing.options",
    "Task": "visionkit.tasks.base",
    "Classification": "visionkit.tasks.classification",
    "ClassificationEvaluationOptions": "visionkit.tasks.classification",
    "ClassificationLossOptions": "visionkit.tasks.classification",
    "Detection": "visionkit.tasks.detection",
    "DetectionEvaluationOptions": "visionkit.tasks.detection",
    "MixingOptions": "visionkit.tasks.mixing",
    "MultiEvaluationOptions": "visionkit.tasks.multi",
    "MultiTask": "visionkit.tasks.multi",
    "OptimizerOptions": "visionkit.tasks.optimizers",
    "ScheduleOptions": "visionkit.tasks.schedules",
    "register_optimizer": "visionkit.tasks.optimizers",
    "register_schedule": "visionkit.tasks.schedules",
    "Segmentation": "visionkit.tasks.segmentation",
    "SegmentationEvaluationOptions": "visionkit.tasks.segmentation",
    "SegmentationLossOptions": "visionkit.tasks.segmentation",
}
"""Module of each name, the same as in the imports above, which only type checkers read."""


if not TYPE_CHECKING:  # type checkers would take any name for one of the package

    def __getattr__(name: str) -> Any:
        if name == "metrics":
            return importlib.import_module("visionkit.metrics")
        if name not in _MODULES:
            raise AttributeError(f"module 'visionkit' has no attribute {name!r}")
        value = getattr(importlib.import_module(_MODULES[name]), name)
        globals()[name] = value  # the next use of the name does not come here
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
