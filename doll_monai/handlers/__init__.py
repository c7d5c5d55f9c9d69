"""Ignite handlers that the bundles declare and MONAI does not have."""

from doll_monai.handlers.agreement import MapAgreement
from doll_monai.handlers.captum_sources import CaptumHandler
from doll_monai.handlers.early_learning import EarlyLearningCorrection
from doll_monai.handlers.engine import every, image_meta
from doll_monai.handlers.explainer import Explainer
from doll_monai.handlers.gradcam import GradCAMHandler
from doll_monai.handlers.integrated_gradients import IntegratedGradientsHandler
from doll_monai.handlers.label_writer import LabelWriter
from doll_monai.handlers.localization import LocalizationScorer, label_shares, localization_sources, with_label_shares
from doll_monai.handlers.overlay_sheet import OverlaySheet
from doll_monai.handlers.overlay_writer import OverlayWriter
from doll_monai.handlers.progress import ProgressHandler
from doll_monai.handlers.randomized import RandomizedExplainer, explained_keys
from doll_monai.handlers.tracking import (
    TrackedRun,
    artifact_folder,
    bundle_name,
    bundle_task,
    default_tracking_uri,
    executed_configuration,
)
from doll_monai.handlers.training_state import AdapterSaver, BestModelSaver, TrainingState
from doll_monai.handlers.transfer_probe import TransferProbe

__all__ = [
    "AdapterSaver",
    "BestModelSaver",
    "CaptumHandler",
    "EarlyLearningCorrection",
    "Explainer",
    "GradCAMHandler",
    "IntegratedGradientsHandler",
    "LabelWriter",
    "LocalizationScorer",
    "MapAgreement",
    "OverlaySheet",
    "OverlayWriter",
    "ProgressHandler",
    "RandomizedExplainer",
    "TrackedRun",
    "TrainingState",
    "TransferProbe",
    "artifact_folder",
    "bundle_name",
    "bundle_task",
    "default_tracking_uri",
    "every",
    "executed_configuration",
    "explained_keys",
    "image_meta",
    "label_shares",
    "localization_sources",
    "with_label_shares",
]
