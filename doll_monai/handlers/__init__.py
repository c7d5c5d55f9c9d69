"""Ignite handlers that the bundles declare and MONAI does not have."""

from .agreement import MapAgreement
from .captum_sources import CaptumHandler
from .chance import ChanceScorer
from .early_learning import EarlyLearningCorrection
from .engine import every, film_meta, run_unless_done
from .explainer import SOURCES, Explainer, check_source
from .gradcam import GradCAMHandler
from .integrated_gradients import IntegratedGradientsHandler
from .label_writer import LabelWriter
from .localisation import LocalisationScorer, label_shares, localisation_sources, with_label_shares
from .overlay_sheet import OverlaySheet
from .overlay_writer import OverlayWriter
from .progress import ProgressHandler
from .randomised import RandomisedExplainer, explained_keys, gate_sources
from .roc_curves import RocCurves
from .tracking import (
    TrackedRun,
    artifact_folder,
    bundle_name,
    bundle_task,
    default_tracking_uri,
    executed_configuration,
)
from .training_state import AdapterSaver, BestModelSaver, TrainingState, WeightsLoader
from .transfer_probe import TransferProbe

__all__ = [
    "SOURCES",
    "AdapterSaver",
    "BestModelSaver",
    "CaptumHandler",
    "ChanceScorer",
    "EarlyLearningCorrection",
    "Explainer",
    "GradCAMHandler",
    "IntegratedGradientsHandler",
    "LabelWriter",
    "LocalisationScorer",
    "MapAgreement",
    "OverlaySheet",
    "OverlayWriter",
    "ProgressHandler",
    "RandomisedExplainer",
    "RocCurves",
    "TrackedRun",
    "TrainingState",
    "TransferProbe",
    "WeightsLoader",
    "artifact_folder",
    "bundle_name",
    "bundle_task",
    "check_source",
    "default_tracking_uri",
    "every",
    "executed_configuration",
    "explained_keys",
    "film_meta",
    "gate_sources",
    "label_shares",
    "localisation_sources",
    "run_unless_done",
    "with_label_shares",
]
