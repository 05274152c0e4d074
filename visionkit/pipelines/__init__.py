"""Trained models as torch modules: preprocessing, network, postprocessing, test-time augmentation, ensembles.

This package does not import Lightning, torchmetrics or albumentations. Tasks train and score a pipeline.
`visionkit predict` and ensembles use the pipeline directly.
"""

from visionkit.pipelines.base import Pipeline, pipelines
from visionkit.pipelines.checkpoint import load, load_pipeline
from visionkit.pipelines.classification import ClassificationInferenceOptions, ClassificationPipeline
from visionkit.pipelines.detection import DetectionInferenceOptions, DetectionPipeline
from visionkit.pipelines.ensembles import ClassificationEnsemble, DetectionEnsemble, SegmentationEnsemble, make_ensemble
from visionkit.pipelines.multi import MultiPipeline
from visionkit.pipelines.multi_result import MultiResult
from visionkit.pipelines.results import ClassificationResult, DetectionResult, Result, SegmentationResult
from visionkit.pipelines.runtime import RuntimeOptions
from visionkit.pipelines.segmentation import SegmentationInferenceOptions, SegmentationPipeline

__all__ = [
    "ClassificationEnsemble",
    "ClassificationInferenceOptions",
    "ClassificationPipeline",
    "ClassificationResult",
    "DetectionEnsemble",
    "DetectionInferenceOptions",
    "DetectionPipeline",
    "DetectionResult",
    "MultiPipeline",
    "MultiResult",
    "Pipeline",
    "Result",
    "RuntimeOptions",
    "SegmentationEnsemble",
    "SegmentationInferenceOptions",
    "SegmentationPipeline",
    "SegmentationResult",
    "load",
    "load_pipeline",
    "make_ensemble",
    "pipelines",
]
