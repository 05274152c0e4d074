"""LightningModules that train and score a pipeline."""

from visionkit.tasks.balancing.options import BalancingOptions
from visionkit.tasks.base import Task, tasks
from visionkit.tasks.classification import Classification, ClassificationEvaluationOptions, ClassificationLossOptions
from visionkit.tasks.detection import Detection, DetectionEvaluationOptions
from visionkit.tasks.mixing import MixingOptions
from visionkit.tasks.multi import MultiEvaluationOptions, MultiTask
from visionkit.tasks.optimizers import OptimizerOptions
from visionkit.tasks.schedules import ScheduleOptions
from visionkit.tasks.segmentation import Segmentation, SegmentationEvaluationOptions, SegmentationLossOptions

__all__ = [
    "BalancingOptions",
    "Classification",
    "ClassificationEvaluationOptions",
    "ClassificationLossOptions",
    "Detection",
    "DetectionEvaluationOptions",
    "MixingOptions",
    "MultiEvaluationOptions",
    "MultiTask",
    "OptimizerOptions",
    "ScheduleOptions",
    "Segmentation",
    "SegmentationEvaluationOptions",
    "SegmentationLossOptions",
    "Task",
    "tasks",
]
