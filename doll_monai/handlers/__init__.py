"""Ignite handlers that the bundles declare and MONAI does not have."""

from .captum_sources import CaptumHandler
from .engine import every, film_meta, run_unless_done
from .explainer import SOURCES, Explainer, check_source
from .gradcam import GradCAMHandler
from .integrated_gradients import IntegratedGradientsHandler
from .label_writer import LabelWriter
from .localisation import LocalisationScorer, localisation_sources
from .progress import ProgressHandler
from .training_state import AdapterSaver, BestModelSaver, TrainingState, WeightsLoader

__all__ = [
    "SOURCES",
    "AdapterSaver",
    "BestModelSaver",
    "CaptumHandler",
    "Explainer",
    "GradCAMHandler",
    "IntegratedGradientsHandler",
    "LabelWriter",
    "LocalisationScorer",
    "ProgressHandler",
    "TrainingState",
    "WeightsLoader",
    "check_source",
    "every",
    "film_meta",
    "localisation_sources",
    "run_unless_done",
]
