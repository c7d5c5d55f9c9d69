"""What a reader of an MLflow run asks for: parameters, scores by class, pictures, the model itself."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from mlflow.entities import Param
from mlflow.exceptions import MlflowException
from monai.handlers import MLFlowHandler
from monai.utils import CommonKeys
from monai.utils.misc import path_to_sqlite_uri, path_to_uri
from skimage.util import montage

from doll_monai.handlers.engine import output_of
from doll_monai.utils.errors import explained
from doll_monai.utils.json_object import read_json_object
from doll_monai.utils.mlflow_store import NOTE, TRAINING, find_experiment, open_store
from doll_monai.visualize.pictures import compared

ENVIRONMENT = "MLFLOW_TRACKING_URI"


def default_tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or ``mlruns/mlruns.db`` in the folder where the program was started, which is made."""
    if uri := os.environ.get(ENVIRONMENT):
        return uri
    folder = Path.cwd() / "mlruns"
    folder.mkdir(exist_ok=True)
    return path_to_sqlite_uri(folder / "mlruns.db")


def artifact_folder(tracking_uri: str, experiment: str) -> str | None:
    """A folder of the experiment's name beside a SQLite file; None for other stores, which have a place themselves."""
    scheme, _, file = tracking_uri.partition(":///")
    return path_to_uri(Path(file).parent / experiment) if scheme == "sqlite" else None


def bundle_name(bundle_root: str | os.PathLike) -> str:
    """Name of a bundle's folder."""
    return Path(bundle_root).resolve().name


def bundle_task(bundle_root: str | os.PathLike) -> str:
    """What a bundle does, in the sentence of its ``metadata.json``; its name where there is none."""
    path = Path(bundle_root) / "configs" / "metadata.json"
    task = read_json_object(path).get("task") if path.is_file() else None
    return f"{task or bundle_name(bundle_root)}."


def executed_configuration(path: str | None, output_dir: str | os.PathLike) -> str | None:
    """The file in which MONAI kept the merged configuration: ``path``, or one below ``output_dir``; None if neither."""
    if path is None or os.path.isfile(path):
        return path
    written = Path(output_dir).glob("config_*.json")
    return str(max(written, key=os.path.getmtime, default="")) or None


class TrackedRun(MLFlowHandler):
    """MONAI's ``MLFlowHandler`` that also logs parameters, scores by class, a picture of predictions, the checkpoint.

    Args:
        tracking_uri: the store, for models as well; unlike in MONAI's handler, the environment does not change it.
        parameters: what the run depends on, logged under their ids; a continued run keeps those that it has.
        classes: names of the channels. Metrics with details by channel (such as MONAI's ``MeanDice``) are logged as
            ``dice_lungs``, beside their mean.
        overlays: number of images of the first batch that are drawn at each validation, where predictions are images:
            ground truth in blue, prediction dashed in orange, as ``overlays.png`` and with a slider through the epochs.
        description: what the run is, for its description in MLflow.
        checkpoint: file that is kept as an artifact when the engine has finished, below ``model``.
        registered_model: name in the model registry under which the checkpoint becomes a new version; None for none.

    Raises:
        InputError: when the store cannot be used, or the experiment was deleted.
    """

    @explained
    def __init__(
        self,
        tracking_uri: str,
        experiment_name: str,
        parameters: Mapping[str, Any] | None = None,
        classes: Sequence[str] = (),
        overlays: int = 0,
        description: str = "",
        checkpoint: str | os.PathLike | None = None,
        registered_model: str | None = None,
        **kwargs: Any,
    ) -> None:
        client = open_store(tracking_uri)
        find_experiment(client, experiment_name)
        environment = os.environ.pop(ENVIRONMENT, None)
        try:
            super().__init__(tracking_uri, experiment_name=experiment_name, **kwargs)
        finally:
            if environment is not None:
                os.environ[ENVIRONMENT] = environment
        self.client = client
        self.parameters, self.description = dict(parameters or {}), description
        self.classes, self.overlays = list(classes), overlays
        self.checkpoint, self.registered_model = checkpoint, registered_model
        self._drawn: list[np.ndarray] = []

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer or an evaluator, as the last of its handlers."""
        super().attach(engine)
        if self.overlays:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._draw)

    def start(self, engine: Engine) -> None:
        """Find or make the run; log the parameters and the description that it does not have."""
        super().start(engine)
        experiment: Any = self.experiment
        for tag, value in TRAINING.items():
            self.client.set_experiment_tag(experiment.experiment_id, tag, value)
        known = self.client.get_run(self.run_id).data
        missing = [Param(name, str(value)) for name, value in self.parameters.items() if name not in known.params]
        self.client.log_batch(self.run_id, params=missing)
        if NOTE not in known.tags:
            self.client.set_tag(self.run_id, NOTE, self.description)

    @property
    def run_id(self) -> str:
        """MLflow's id of the run, once it has started."""
        run: Any = self.cur_run
        return run.info.run_id

    def epoch_completed(self, engine: Engine) -> None:
        """Log metrics, those by class, and the picture."""
        super().epoch_completed(engine)
        step = self.global_epoch_transform(engine.state.epoch)
        self._log_metrics(class_means(getattr(engine.state, "metric_details", {}), self.classes), step)
        if self._drawn:  # side by side: MLflow shows 256 pixels at first
            picture = montage(np.stack(self._drawn), channel_axis=-1, fill=(0, 0, 0))
            self.client.log_image(self.run_id, picture, "overlays.png")
            self.client.log_image(self.run_id, picture, key="overlays", step=step)
            self._drawn = []

    def complete(self) -> None:
        """Log artifacts, and register the checkpoint."""
        super().complete()
        name, path = self.registered_model, self.checkpoint
        if name is None or path is None or not os.path.isfile(path):
            return
        self.client.log_artifact(self.run_id, str(path), "model")
        try:
            self.client.create_registered_model(name, description=self.description or None)
        except MlflowException:
            self.client.get_registered_model(name)  # it is there already, or else this says what is wrong
        self.client.create_model_version(name, source=f"runs:/{self.run_id}/model", run_id=self.run_id)

    def _draw(self, engine: Engine) -> None:
        output = output_of(engine)
        if self._drawn or not isinstance(output, list):
            return
        for item in output[: self.overlays]:
            image, prediction, label = (item.get(key) for key in (CommonKeys.IMAGE, CommonKeys.PRED, CommonKeys.LABEL))
            if image is not None and prediction is not None and prediction.ndim == 3:
                gray = (np.asarray(image.cpu())[0].T.clip(0, 1) * 255).astype(np.uint8)
                truth = None if label is None or label.ndim != 3 else np.asarray(label.cpu())
                self._drawn.append(compared(np.stack([gray] * 3, -1), truth, np.asarray(prediction.cpu())))


def class_means(details: Mapping[str, Any], classes: Sequence[str]) -> dict[str, float]:
    """``{"dice_lungs": 0.9}``: means of metrics (images, classes) over the images whose value is a number."""
    scores = {}
    for name, values in details.items():
        if isinstance(values, torch.Tensor) and values.ndim == 2 and values.shape[1] == len(classes):
            for label, mean in zip(classes, values.nanmean(0).tolist(), strict=True):
                if not math.isnan(mean):
                    scores[f"{name}_{label.replace(' ', '_')}"] = mean
    return scores
