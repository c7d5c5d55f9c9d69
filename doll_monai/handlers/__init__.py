"""Ignite handlers that the bundles declare and MONAI does not have."""

from doll_monai.handlers.early_learning import EarlyLearningCorrection
from doll_monai.handlers.explanations import GradCAMHandler, GradientShapHandler, IntegratedGradientsHandler
from doll_monai.handlers.inference import MaskWriter, UnreadableImages
from doll_monai.handlers.label_writer import LabelWriter
from doll_monai.handlers.localization import LocalizationScorer
from doll_monai.handlers.overlays import OverlaySheet, OverlayWriter
from doll_monai.handlers.progress import ProgressHandler
from doll_monai.handlers.tracking import TrackedRun
from doll_monai.handlers.training_state import AdapterSaver, BestModelSaver, TrainingState

__all__ = [
    "AdapterSaver",
    "BestModelSaver",
    "EarlyLearningCorrection",
    "GradCAMHandler",
    "GradientShapHandler",
    "IntegratedGradientsHandler",
    "LabelWriter",
    "LocalizationScorer",
    "MaskWriter",
    "OverlaySheet",
    "OverlayWriter",
    "ProgressHandler",
    "TrackedRun",
    "TrainingState",
    "UnreadableImages",
]
