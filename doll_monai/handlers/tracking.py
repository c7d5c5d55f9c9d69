"""What a reader of an MLflow run asks for: parameters, scores by class, pictures, the model itself."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from mlflow.exceptions import MlflowException
from monai.handlers import MLFlowHandler
from monai.utils import CommonKeys
from monai.utils.misc import path_to_sqlite_uri, path_to_uri

from doll_monai.report.pictures import LABEL_COLOUR, TRUTH_COLOUR, outlines

from .engine import output_of

SQLITE = "sqlite:///"


def default_tracking_uri() -> str:
    """``mlruns/mlruns.db`` in the folder where the program was started; the folder is made."""
    folder = Path.cwd() / "mlruns"
    folder.mkdir(exist_ok=True)
    return path_to_sqlite_uri(folder / "mlruns.db")


def artifact_folder(tracking_uri: str, experiment: str) -> str | None:
    """A folder of the experiment's name beside a SQLite file; None for other stores, which have a place themselves."""
    if not tracking_uri.startswith(SQLITE):
        return None
    return path_to_uri(Path(tracking_uri.removeprefix(SQLITE)).parent / experiment)


def bundle_name(bundle_root: str | os.PathLike) -> str:
    """Name of a bundle's folder."""
    return Path(bundle_root).resolve().name


def executed_configuration(path: str | None, output_dir: str | os.PathLike) -> str | None:
    """The file in which MONAI kept the merged configuration of this run.

    Args:
        path: where it was asked to be; MONAI writes a name of its own where none was given.
        output_dir: where MONAI puts the latter.

    Returns:
        the file, or None when none was written.
    """
    if path is None or os.path.isfile(path):
        return path
    written = Path(output_dir).glob("config_*.json")
    return str(max(written, key=os.path.getmtime, default="")) or None


class TrackedRun(MLFlowHandler):
    """MONAI's ``MLFlowHandler`` that also logs scores by class, a picture of predictions, and the checkpoint.

    Args:
        parameters: what the run depends on; a continued run keeps those that it has.
        classes: names of the channels. Metrics with details by channel (such as MONAI's ``MeanDice``) are logged as
            ``dice_lungs``, beside their mean.
        overlays: number of films of the first batch that are drawn each epoch, label outlined in blue, prediction
            dashed in orange, as the artifact ``overlays.png``; 0 draws none. Only for predictions that are images.
        checkpoint: file that is kept as an artifact when the engine has finished, below ``model``.
        registered_model: name in the model registry under which the checkpoint becomes a new version; None for none.
        kwargs: of ``MLFlowHandler``.
    """

    def __init__(
        self,
        parameters: Mapping[str, Any] | None = None,
        classes: Sequence[str] = (),
        overlays: int = 0,
        checkpoint: str | os.PathLike | None = None,
        registered_model: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.parameters = dict(parameters or {})
        self.classes = list(classes)
        self.overlays = overlays
        self.checkpoint = checkpoint
        self.registered_model = registered_model
        self._drawn: list[np.ndarray] = []

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer or an evaluator, as the last of its handlers."""
        super().attach(engine)
        if self.overlays:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._draw)

    def start(self, engine: Engine) -> None:
        """Find or make the run and log the parameters that it does not have."""
        super().start(engine)
        missing = dict(self.parameters)
        self._delete_exist_param_in_dict(missing)
        self._log_params(missing)

    def epoch_completed(self, engine: Engine) -> None:
        """Log metrics, those by class, and the picture."""
        super().epoch_completed(engine)
        step = self.global_epoch_transform(engine.state.epoch)
        details = self._by_class(getattr(engine.state, "metric_details", {}))
        if details:
            self._log_metrics(details, step)
        if self._drawn and self.cur_run is not None:
            self.client.log_image(self.cur_run.info.run_id, _side_by_side(self._drawn), "overlays.png")
            self._drawn = []

    def complete(self) -> None:
        """Log artifacts, and register the checkpoint."""
        super().complete()
        if self.cur_run is None or self.checkpoint is None or not os.path.isfile(self.checkpoint):
            return
        if self.registered_model is not None:
            run_id = self.cur_run.info.run_id
            self.client.log_artifact(run_id, str(self.checkpoint), "model")
            self._register(self.registered_model, run_id)

    def _register(self, name: str, run_id: str) -> None:
        try:
            self.client.create_registered_model(name)
        except MlflowException:
            self.client.get_registered_model(name)  # it is there already, or else this says what is wrong
        self.client.create_model_version(name, source=f"runs:/{run_id}/model", run_id=run_id)

    def _by_class(self, details: Mapping[str, Any]) -> dict[str, float]:
        """``dice_lungs``: mean over the films whose value is a number."""
        scores = {}
        for name, values in details.items():
            if not isinstance(values, torch.Tensor) or values.ndim != 2 or values.shape[1] != len(self.classes):
                continue
            for label, column in zip(self.classes, values.T, strict=True):
                known = column[~column.isnan()]
                if len(known):
                    scores[f"{name}_{label.replace(' ', '_')}"] = float(known.mean())
        return scores

    def _draw(self, engine: Engine) -> None:
        if self._drawn:
            return
        output = output_of(engine)
        for film in output[: self.overlays] if isinstance(output, list) else ():
            image, prediction = film.get(CommonKeys.IMAGE), film.get(CommonKeys.PRED)
            if image is not None and prediction is not None and prediction.ndim == 3:
                self._drawn.append(_picture(image, film.get(CommonKeys.LABEL), prediction))


def _picture(image: torch.Tensor, label: torch.Tensor | None, prediction: torch.Tensor) -> np.ndarray:
    """Args: image (1, W, H) 0 to 1, label and prediction (T, W, H). Returns: (H, W, 3) ``uint8``."""
    grey = (np.asarray(image.cpu())[0].T.clip(0, 1) * 255).astype(np.uint8)
    picture = np.stack([grey] * 3, -1)
    if label is not None and label.ndim == 3:
        picture = outlines(picture, _masks(label), TRUTH_COLOUR)
    return outlines(picture, _masks(prediction), LABEL_COLOUR, dashed=True)


def _masks(channels: torch.Tensor) -> np.ndarray:
    return np.asarray(channels.cpu()).transpose(0, 2, 1)


def _side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    height = max(picture.shape[0] for picture in pictures)
    return np.concatenate([np.pad(p, ((0, height - len(p)), (0, 0), (0, 0))) for p in pictures], axis=1)
