"""LightningModules: a network plus everything that training, evaluation and prediction need."""

from visionkit.tasks.base import Task, tasks
from visionkit.tasks.detection import Detection, EvaluationOptions
from visionkit.tasks.optimise import OptimizerOptions, ScheduleOptions

__all__ = ["Detection", "EvaluationOptions", "OptimizerOptions", "ScheduleOptions", "Task", "tasks"]
