"""The app itself: models, trainers, strategies and datastore, as MONAI Label asks for them."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monailabel.datastore.dicom import DICOMwebClientX
from monailabel.interfaces.app import MONAILabelApp
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random

import doll_monai
from doll_monai.utils.errors import InputError, sentence_of
from doll_tools.annotate.datastore import ImageFolder, ImageServer
from doll_tools.annotate.disagreement import Disagreement
from doll_tools.annotate.infer import CorrectRegions, ProposeFindings, ProposeRegions, ScoreFindings
from doll_tools.annotate.label_map import CLASSES, class_bits, read_mask, split_classes
from doll_tools.annotate.model import ServedModel
from doll_tools.annotate.safe_labels import ORIGINAL
from doll_tools.annotate.served import CLASSIFIER_BUNDLE, read_served
from doll_tools.annotate.train import TrainAdapters
from doll_tools.annotate.versions import Versions

REMEMBERED = 200
"""Proposals that are kept until their images are saved."""
CLICKS = "_clicks"
"""Ending of the models that take clicks."""


class DollLabelApp(MONAILabelApp):
    """Serves the bundles that ``served.json`` in the app's folder names; see ``MONAILabelApp`` for the arguments."""

    studies: str

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        served = read_served(app_dir)
        self.models = {
            bundle.name: ServedModel(bundle, Versions(Path(app_dir) / "model" / bundle.name / bundle.fingerprint))
            for bundle in served
        }
        self.tasks = {name: model for name, model in self.models.items() if model.served.is_task}
        classes = dict.fromkeys([*CLASSES, *(name for model in self.tasks.values() for name in model.classes)])
        self.bits = class_bits(list(classes))
        self._proposed: dict[str, tuple[str, int, bytes]] = {}
        super().__init__(
            app_dir,
            studies,
            conf,
            name="doll-monai",
            description="Proposes regions in chest radiographs and learns from their corrections. Research only.",
            version=doll_monai.__version__,
        )
        self.datastore().usual_classes, self.datastore().compare = self.usual_classes, self.compare

    def init_datastore(self) -> Any:
        """The folder of images, or a server."""
        if self.studies.startswith(("http://", "https://")):
            self.studies = self.studies.rstrip("/").strip()
            return self.init_remote_datastore()
        from monailabel.config import settings

        return ImageFolder(self.studies, list(self.bits), settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD)

    def init_remote_datastore(self) -> Any:
        """A DICOMweb server."""
        from dicomweb_client.session_utils import create_session_from_user_pass
        from monailabel.config import settings

        user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
        session = create_session_from_user_pass(user, password) if user and password else None
        client = DICOMwebClientX(url=self.studies, session=session)
        return ImageServer(client, list(self.bits), os.path.join(self.app_dir, "images"))

    def init_infers(self) -> dict[str, Any]:
        """A model for each bundle, and one more for each task that takes clicks."""
        infers: dict[str, Any] = {}
        for name, model in self.models.items():
            if name in self.tasks:
                infers[name] = ProposeRegions(model, self.bits)
                infers[name.replace("_segmentation", CLICKS)] = CorrectRegions(model, self.bits)
            else:
                infers[name] = ScoreFindings(model) if name == CLASSIFIER_BUNDLE else ProposeFindings(model)
        return infers

    def init_trainers(self) -> dict[str, Any]:
        """A trainer for each task that has a pre-trained network."""
        return {
            name: TrainAdapters(model.served, model.versions, self.bits)
            for name, model in self.tasks.items()
            if model.served.pretrained
        }

    def init_strategies(self) -> dict[str, Any]:
        """``disagreement``, ``first`` and ``random``."""
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
            self._note(image, task, result["file"])
            if request.get("save_label", False):
                try:
                    tag = request.get("label_tag", ORIGINAL)
                    result |= {"label": store.save_proposal(image, result["file"], tag, name), "tag": tag}
                except InputError:
                    os.unlink(result["file"])
                    raise
        return result

    def batch_infer(self, request: dict[str, Any], datastore: Any = None) -> Any:
        """Proposals for many images; MONAI Label divides them among GPUs, of which there may be none."""
        request = {"multi_gpu": torch.cuda.is_available(), **request}
        return self._batch_infer(request, datastore or self.datastore(), self._infer_or_say)

    def _infer_or_say(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        """One of many: an image that cannot be read, or has an annotator's label, does not stop the others."""
        try:
            return self.infer(request, datastore)
        except InputError as error:
            return {"error": str(error)}

    def _note(self, image: str, task: Any, file: str) -> None:
        """Remember a proposal for an image without a label, to compare it with what the annotator saves."""
        store = self.datastore()
        if type(task) is ProposeRegions and store.mask(image) is None:
            mask = read_mask(file, store.image(image).shape[::-1], 255)
            self._proposed[image] = task.model.served.name, task.model.version, zlib.compress(mask.tobytes(), 1)
            while len(self._proposed) > REMEMBERED:
                del self._proposed[next(iter(self._proposed))]

    def usual_classes(self, image: str) -> list[str]:
        """Classes of the task that proposed last for an image, of the first task before."""
        name = self._proposed[image][0] if image in self._proposed else next(iter(self.tasks), "")
        return self.models[name].classes if name else []

    def compare(self, image: str, mask: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
        """The proposal and what the annotator made of it: how good the model is on images that it never saw."""
        if image not in self._proposed:
            return {}
        name, version, packed = self._proposed.pop(image)
        proposal = np.frombuffer(zlib.decompress(packed), dtype=np.uint8).reshape(mask.shape)
        own = [name for name in self.models[name].classes if name in classes]
        scores = dict(zip(own, _dice(proposal, mask, [self.bits[name] for name in own]), strict=True)) if own else {}
        return {"proposal": {"model": name, "version": version, "dice": scores}}

    def on_save_label(self, image_id: str, label_id: str) -> None:
        """Nothing: what is to be noted of a label is noted when it is saved."""

    def _download_dcmqi_tools(self) -> None:
        """Nothing: highdicom writes DICOM SEG here."""


def _dice(a: np.ndarray, b: np.ndarray, bits: list[int]) -> list[float | None]:
    """Dice of each class; None where both are empty."""
    pairs = zip(split_classes(a, bits), split_classes(b, bits), strict=True)
    return [round(float(2 * (x & y).sum() / (x.sum() + y.sum())), 4) if (x | y).any() else None for x, y in pairs]
