"""Ignite handlers that the bundles declare and MONAI does not have."""

from .engine import every, film_meta, run_unless_done
from .explainer import Explainer
from .gradcam import GradCAMHandler
from .integrated_gradients import IntegratedGradientsHandler
from .label_writer import LabelWriter
from .localisation import LocalisationScorer, localisation_sources
from .progress import ProgressHandler
from .training_state import AdapterSaver, BestModelSaver, TrainingState, WeightsLoader

__all__ = [
    "AdapterSaver",
    "BestModelSaver",
    "Explainer",
    "GradCAMHandler",
    "IntegratedGradientsHandler",
    "LabelWriter",
    "LocalisationScorer",
    "ProgressHandler",
    "TrainingState",
    "WeightsLoader",
    "every",
    "film_meta",
    "localisation_sources",
    "run_unless_done",
]
