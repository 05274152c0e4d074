"""LightningModules: a network plus everything that training, evaluation and prediction need."""

from visionkit.tasks.base import Task, tasks
from visionkit.tasks.classification import Classification, ClassificationEvaluationOptions, ClassificationLossOptions
from visionkit.tasks.detection import Detection, DetectionEvaluationOptions
from visionkit.tasks.mixing import MixingOptions
from visionkit.tasks.optimizers import OptimizerOptions, ScheduleOptions
from visionkit.tasks.runtime import RuntimeOptions
from visionkit.tasks.segmentation import Segmentation, SegmentationEvaluationOptions, SegmentationLossOptions

__all__ = [
    "Classification",
    "ClassificationEvaluationOptions",
    "ClassificationLossOptions",
    "Detection",
    "DetectionEvaluationOptions",
    "MixingOptions",
    "OptimizerOptions",
    "RuntimeOptions",
    "ScheduleOptions",
    "Segmentation",
    "SegmentationEvaluationOptions",
    "SegmentationLossOptions",
    "Task",
    "tasks",
]
