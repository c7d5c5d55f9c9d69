"""Atomic checkpoints with exact resume."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd
from monai.utils import set_determinism
from torch import nn

from doll_monai.networks.adapters import AdaptedNetwork
from doll_monai.networks.parameters import count_parameters
from doll_monai.networks.weights import read_checkpoint, save_adapter, save_weights
from doll_monai.utils.errors import InputError
from doll_monai.utils.folder import lock_folder
from doll_monai.utils.processes import process_rank

RANK_SEED = 1_000_003  # distance of the seeds of two processes, above any number of epochs


class BestModelSaver:
    """Saves a network's state dict to ``path`` whenever the evaluator's key metric is the best so far, or no number.

    Unlike MONAI's ``CheckpointSaver`` it relies on the evaluator's own record of its best epoch, which
    ``TrainingState`` restores: a resumed training does not overwrite a better model.
    """

    def __init__(self, path: str, network: nn.Module) -> None:
        self.path, self.network = path, network

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        state = engine.state
        if state.best_metric_epoch == state.epoch or math.isnan(state.best_metric):
            save_weights(self.network.state_dict(), self.path)


class TrainingState:
    """Saves everything a training needs to continue, each epoch, and continues from there when the file exists.

    MONAI's ``CheckpointSaver`` and ``CheckpointLoader`` restore no random numbers, no best metric, and take another
    training's file. Here each epoch seeds its random numbers with ``seed`` and its number, so a resumed training draws
    the same ones as an undisturbed one. No second training may use the folder meanwhile. Of several processes, the
    first writes and all read.

    Args:
        objects: name to object with a state dict: network, optimizer, scheduler.
        seed: seed of the run.
        evaluator: validation engine whose best metric is kept.
        final_path: where the weights of ``objects["network"]`` go when training is complete; None writes none.
        settings: values on which the training depends.

    Raises:
        InputError: when training starts, if the file is of other settings, another network or another optimizer.
    """

    def __init__(
        self,
        path: str,
        objects: Mapping[str, Any],
        seed: int = 0,
        evaluator: Engine | None = None,
        final_path: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.final_path = Path(path), final_path
        self.objects, self.seed = dict(objects), seed
        self.evaluator: Any = evaluator
        self.settings = json.loads(json.dumps({"seed": seed, **(settings or {})}, default=str))
        self._lock: AcquireReturnProxy | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer, after the handlers whose results belong to the epoch (validation, scheduler)."""
        engine.add_event_handler(Events.STARTED, self._resume)
        engine.add_event_handler(Events.EPOCH_STARTED, self._draw)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _resume(self, engine: Engine) -> None:
        state = engine.state
        self.settings |= {"max_epochs": state.max_epochs, "epoch_length": state.epoch_length}
        if process_rank() == 0 and self._lock is None:
            self._lock = lock_folder(self.path.parent, "training")
        if not self.path.is_file():
            return
        content, advice = read_checkpoint(self.path), "give a new ckpt_dir, or delete it to begin anew."
        there, here = content.get("settings", {}), self.settings
        changed = sorted(name for name in {*there, *here} if there.get(name) != here.get(name))
        if changed:
            raise InputError(f"{self.path} belongs to a training with another {', '.join(changed)}; {advice}")
        try:
            for name, item in self.objects.items():
                item.load_state_dict(content[name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise InputError(f"{self.path} belongs to another network or optimizer; {advice}") from error
        state.epoch = content["epoch"]
        state.iteration = state.epoch * (state.epoch_length or 0)
        if self.evaluator is not None:
            self.evaluator.state.best_metric, self.evaluator.state.best_metric_epoch = content["best"]
        done = state.epoch == state.max_epochs
        engine.logger.info(f"{'Complete' if done else 'Continuing'} after epoch {state.epoch}: {self.path}.")

    def _draw(self, engine: Any) -> None:
        seed = self.seed + engine.state.epoch + RANK_SEED * process_rank()
        set_determinism(seed)
        set_rnd(engine.data_loader.dataset, seed=seed)

    def _save(self, engine: Engine) -> None:
        if process_rank() > 0:
            return
        content: dict[str, Any] = {name: item.state_dict() for name, item in self.objects.items()}
        content |= {"epoch": engine.state.epoch, "settings": self.settings}
        if self.evaluator is not None:
            best = self.evaluator.state
            content["best"] = (float(best.best_metric), int(best.best_metric_epoch))
        save_weights(content, self.path)

    def _finish(self, _engine: Engine) -> None:
        if self.final_path is not None and process_rank() == 0:
            save_weights(self.objects["network"].state_dict(), self.final_path)
        if self._lock is not None:
            self._lock.lock.release()
            self._lock = None


class AdapterSaver:
    """Writes ``adapter.pt`` when training is complete, and logs at its start what share of the parameters is trained.

    ``pretrained`` is the pre-trained network's checkpoint, or None. A network trained as a whole has no adapter file.
    """

    def __init__(self, path: str, network: AdaptedNetwork, pretrained: str | os.PathLike | None = None) -> None:
        self.path, self.network, self.pretrained = path, network, pretrained

    def attach(self, engine: Engine) -> None:
        trains = f"Tuning '{self.network.tuning}' trains {count_parameters(self.network)}."
        engine.add_event_handler(Events.STARTED, lambda: engine.logger.info(trains))
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, _engine: Engine) -> None:
        if self.network.tuning != "full":
            save_adapter(self.network, self.path, self.pretrained)
