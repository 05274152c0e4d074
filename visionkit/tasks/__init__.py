"""LightningModules: a network plus everything that training, evaluation and prediction need."""

from visionkit.tasks.base import Task, tasks
from visionkit.tasks.classification import Classification, ClassificationEvaluation, LossOptions
from visionkit.tasks.detection import Detection, EvaluationOptions
from visionkit.tasks.mixing import MixingOptions
from visionkit.tasks.optimise import OptimizerOptions, ScheduleOptions
from visionkit.tasks.runtime import RuntimeOptions
from visionkit.tasks.segmentation import Segmentation, SegmentationEvaluation, SegmentationLossOptions

__all__ = [
    "Classification",
    "ClassificationEvaluation",
    "Detection",
    "EvaluationOptions",
    "LossOptions",
    "MixingOptions",
    "OptimizerOptions",
    "RuntimeOptions",
    "ScheduleOptions",
    "Segmentation",
    "SegmentationEvaluation",
    "SegmentationLossOptions",
    "Task",
    "tasks",
]
