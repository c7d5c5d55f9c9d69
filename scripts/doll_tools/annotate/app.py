"""The app itself: models, trainers, strategies and datastore, as MONAI Label asks for them."""

from __future__ import annotations

import logging
import os
import tempfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dicomweb_client.session_utils import create_session_from_user_pass
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferType
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random

import doll_monai
from doll_monai.utils.errors import InputError, sentence_of
from doll_tools.annotate.dicom import DicomWebImages
from doll_tools.annotate.disagreement import Disagreement
from doll_tools.annotate.masks import FINAL, ORIGINAL, read_mask, split_classes
from doll_tools.annotate.model import ServedModel
from doll_tools.annotate.served import CLASSIFIER_BUNDLE, TASKS, find_bundles
from doll_tools.annotate.store import SafeDatastore
from doll_tools.annotate.tasks import ProposeFindings, ProposeRegions, ScoreFindings
from doll_tools.annotate.train import TrainAdapters

REMEMBERED = 200
"""Proposals that are kept until their images are saved."""
_logger = logging.getLogger(__name__)


class DollLabelApp(MONAILabelApp):
    """Serves what ``find_bundles`` finds in ``conf``; see ``MONAILabelApp`` for the arguments."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.models = {
            name: ServedModel(bundle, Path(app_dir) / "model" / name / bundle.fingerprint)
            for name, bundle in find_bundles(conf).items()
        }
        self.tasks = {name: model for name, model in self.models.items() if name in TASKS}
        self._proposed: dict[str, tuple[str, int, bytes]] = {}
        super().__init__(
            app_dir,
            studies,
            conf,
            name="doll-monai",
            description="Proposes regions in chest radiographs and learns from their corrections. Research only.",
            version=doll_monai.__version__,
        )
        self.datastore().usual_classes = self.usual_classes

    def init_datastore(self) -> Any:
        """The folder of images, or a DICOMweb server."""
        if self.studies.startswith(("http://", "https://")):
            user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
            session = create_session_from_user_pass(user, password) if user and password else None
            client = DICOMwebClientX(url=self.studies.rstrip("/").strip(), session=session)
            return DicomWebImages(client, os.path.join(self.app_dir, "images"))
        store = SafeDatastore(self.studies, settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD)
        found = Counter(name for name, ending in map(store._to_id, os.listdir(self.studies)) if ending)
        for name in [name for name, count in found.items() if count > 1]:
            _logger.warning("%d images are named %s; only one of them is offered.", found[name], name)
        return store

    def init_infers(self) -> dict[str, Any]:
        """A model for each bundle, and one more for each task that takes clicks."""
        infers: dict[str, Any] = {}
        for name, model in self.models.items():
            if name in self.tasks:
                infers[name] = ProposeRegions(model)
                clicks = name.replace("_segmentation", "_clicks")
                infers[clicks] = ProposeRegions(model, InferType.DEEPGROW)
            else:
                infers[name] = ScoreFindings(model) if name == CLASSIFIER_BUNDLE else ProposeFindings(model)
        return infers

    def init_trainers(self) -> dict[str, Any]:
        """A trainer for each task that has a pre-trained network."""
        return {name: TrainAdapters(model) for name, model in self.tasks.items() if model.bundle.pretrained}

    def init_strategies(self) -> dict[str, Any]:
        judge = Disagreement(self.tasks, self.models.get(CLASSIFIER_BUNDLE))
        return {"disagreement": judge, "first": First(), "random": Random()}

    def infer(self, request: dict[str, Any], datastore: Any = None) -> dict[str, Any]:
        """A proposal; saved only where no annotator's label stands.

        Raises:
            InputError: when the image cannot be read, or the request asks for something that is not there.
        """
        name, image = str(request.get("model")), str(request.get("image"))
        task = self._infers.get(name)
        if task is None:
            raise InputError(f"There is no model '{name}'; there are: {', '.join(self._infers)}.")
        if not task.is_valid():
            raise InputError(f"{name} has not learnt anything yet; save some labels and train it.")
        store, uploaded = self.datastore(), Path(image).resolve().parent == Path(tempfile.gettempdir()).resolve()
        path = image if uploaded and os.path.isfile(image) else store.get_image_uri(image)
        if not path:
            raise InputError(f"There is no image {image} in {store.name()}.")
        try:
            result: dict[str, Any] = super().infer({**request, "image": path, "save_label": False}, datastore)
        except Exception as error:
            raise InputError(sentence_of(error) or f"{name} failed: {' '.join(str(error).split())[:300]}") from error
        if result["file"] and not uploaded:
            self._remember(image, task, result["file"])
            if request.get("save_label", False):
                tag = request.get("label_tag", ORIGINAL)
                try:
                    result |= {"label": store.save_proposal(image, result["file"], tag, name), "tag": tag}
                except InputError:
                    os.unlink(result["file"])
                    raise
        return result

    def batch_infer(self, request: dict[str, Any], datastore: Any = None) -> Any:
        """Proposals for many images; with two workers an image that fails does not stop the others."""
        return super().batch_infer({"multi_gpu": torch.cuda.is_available(), "max_workers": 2, **request}, datastore)

    def _remember(self, image: str, task: Any, file: str) -> None:
        """Keep a proposal for an image without a label, to compare it with what the annotator saves."""
        store = self.datastore()
        if isinstance(task, ProposeRegions) and task.type == InferType.SEGMENTATION and store.mask(image) is None:
            mask = read_mask(file, store.radiograph(image).shape[1:])
            self._proposed[image] = task.model.name, task.model.version, zlib.compress(mask.tobytes(), 1)
            while len(self._proposed) > REMEMBERED:
                del self._proposed[next(iter(self._proposed))]

    def usual_classes(self, image: str) -> list[str]:
        """Classes of the task that proposed last for an image, of the first task before."""
        name = self._proposed[image][0] if image in self._proposed else next(iter(self.tasks), "")
        return self.models[name].classes if name else []

    def on_save_label(self, image_id: str, label_id: str) -> None:
        """Note how good the proposal was: it is compared with the annotator's first final label of its image."""
        store = self.datastore()
        mask = store.mask(image_id)
        proposed = None if mask is None else self._proposed.pop(image_id, None)
        if proposed is None:
            return
        name, version, packed = proposed
        proposal = np.frombuffer(zlib.decompress(packed), dtype=np.uint8).reshape(mask.shape)
        classes = [own for own in self.models[name].classes if own in store.known_classes(image_id)]
        dice = {own: _dice(*split_classes(np.stack([proposal, mask]), [own])[0]) for own in classes}
        store.update_label_info(image_id, FINAL, {"proposal": {"model": name, "version": version, "dice": dice}})


def _dice(a: np.ndarray, b: np.ndarray) -> float | None:
    """Dice of two masks; None where both are empty."""
    return round(float(2 * (a & b).sum() / (a.sum() + b.sum())), 4) if (a | b).any() else None
