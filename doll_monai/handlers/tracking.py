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

from doll_monai.handlers.engine import output_of
from doll_monai.handlers.tracked_parameters import shown_name, shown_parameters
from doll_monai.handlers.tracked_pictures import is_pictured, picture_of, together
from doll_monai.utils.json_object import read_json_object
from doll_monai.utils.mlflow_tags import NOTE, TRAINING

SQLITE = "sqlite:///"
PICTURES = "overlays"
PLACE = f"{PICTURES} (Model metrics; a slider goes through the epochs, the last is {PICTURES}.png below Artifacts)"


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


def bundle_task(bundle_root: str | os.PathLike) -> str:
    """What a bundle does, in the sentence of its ``metadata.json``; its name where there is none."""
    path = Path(bundle_root) / "configs" / "metadata.json"
    task = read_json_object(path).get("task") if path.is_file() else None
    return f"{task or bundle_name(bundle_root)}."


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
        overlays: number of images of the first batch that are drawn at each validation, label outlined in blue,
            prediction dashed in orange, where predictions are images; 0 draws none. The last picture is the artifact
            ``overlays.png``. All are shown with a slider through the epochs, from the 33rd validation on every second,
            from the 65th on every fourth and so on: of 160 validations 68, two small files each.
        description: what the run is, for its description in MLflow.
        checkpoint: file that is kept as an artifact when the engine has finished, below ``model``.
        registered_model: name in the model registry under which the checkpoint becomes a new version; None for none.
        kwargs: of ``MLFlowHandler``.
    """

    def __init__(
        self,
        parameters: Mapping[str, Any] | None = None,
        classes: Sequence[str] = (),
        overlays: int = 0,
        description: str = "",
        checkpoint: str | os.PathLike | None = None,
        registered_model: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.parameters = dict(parameters or {})
        self.classes = list(classes)
        self.overlays = overlays
        self.description = description
        self.checkpoint = checkpoint
        self.registered_model = registered_model
        self._drawn: list[np.ndarray] = []
        self._pictured = 0
        self._described = False

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer or an evaluator, as the last of its handlers."""
        super().attach(engine)
        if self.overlays:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._draw)

    def start(self, engine: Engine) -> None:
        """Find or make the run and log the parameters that it does not have."""
        super().start(engine)
        if self.experiment is not None:
            for tag, value in TRAINING.items():
                self.client.set_experiment_tag(self.experiment.experiment_id, tag, value)
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
        self._describe(getattr(engine.state, "key_metric_name", None))
        if self._drawn and self.cur_run is not None:
            run_id, picture = self.cur_run.info.run_id, together(self._drawn)
            self.client.log_image(run_id, picture, f"{PICTURES}.png")
            if is_pictured(self._pictured):
                self.client.log_image(run_id, picture, key=PICTURES, step=step)
            self._pictured += 1
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

    def _log_params(self, params: dict[str, Any]) -> None:
        super()._log_params(shown_parameters(params))

    def _delete_exist_param_in_dict(self, param_dict: dict) -> None:
        if self.cur_run is None:
            return
        logged = self.client.get_run(self.cur_run.info.run_id).data.params
        for name in [name for name in param_dict if shown_name(name) in logged]:
            del param_dict[name]

    def _describe(self, key_metric: str | None) -> None:
        """Say once what the run is and what to look at first, unless somebody has said more."""
        if self.cur_run is None or self._described:
            return
        self._described = True
        said = self.client.get_run(self.cur_run.info.run_id).data.tags.get(NOTE, "")
        places = [*([PLACE] if self._drawn else []), *([f"the metric {key_metric}"] if key_metric else [])]
        if not said or (said == self.description and places):
            look = f"Look first at {'; then at '.join(places)}." if places else ""
            self.client.set_tag(self.cur_run.info.run_id, NOTE, f"{self.description} {look}".strip())

    def _register(self, name: str, run_id: str) -> None:
        try:
            self.client.create_registered_model(name, description=self.description or None)
        except MlflowException:
            self.client.get_registered_model(name)  # it is there already, or else this says what is wrong
        self.client.create_model_version(name, source=f"runs:/{run_id}/model", run_id=run_id)

    def _by_class(self, details: Mapping[str, Any]) -> dict[str, float]:
        """``dice_lungs``: mean over the images whose value is a number."""
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
        for radiograph in output[: self.overlays] if isinstance(output, list) else ():
            image, prediction = radiograph.get(CommonKeys.IMAGE), radiograph.get(CommonKeys.PRED)
            if image is not None and prediction is not None and prediction.ndim == 3:
                self._drawn.append(picture_of(image, radiograph.get(CommonKeys.LABEL), prediction))
