"""The app itself: models, trainers, strategies and datastore, as MONAI Label asks for them."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

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
from doll_tools.annotate.masks import FINAL, ORIGINAL, dice, split_classes
from doll_tools.annotate.model import CLASSIFIER_BUNDLE, TASKS, ServedModel, find_models
from doll_tools.annotate.store import SafeDatastore
from doll_tools.annotate.tasks import THRESHOLD, ProposeFindings, ProposeRegions, ScoreFindings
from doll_tools.annotate.train import TrainAdapters

_logger = logging.getLogger(__name__)


class DollLabelApp(MONAILabelApp):
    """Serves what ``find_models`` finds in ``conf``; see ``MONAILabelApp`` for the arguments."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.models = find_models(conf, Path(app_dir))
        self.tasks = {name: model for name, model in self.models.items() if name in TASKS}
        self._proposed: dict[str, tuple[ServedModel, bool]] = {}
        super().__init__(
            app_dir,
            studies,
            conf,
            name="doll-monai",
            description="Proposes regions in chest radiographs and learns from their corrections. Research only.",
            version=doll_monai.__version__,
        )

    def init_datastore(self) -> Any:
        """The folder of images, or a DICOMweb server."""
        if self.studies.startswith(("http://", "https://")):
            user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
            session = create_session_from_user_pass(user, password) if user and password else None
            client = DICOMwebClientX(url=self.studies.rstrip("/").strip(), session=session)
            return DicomWebImages(client, os.path.join(self.app_dir, "images"), self.usual_classes)
        store = SafeDatastore(self.studies, self.usual_classes, settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD)
        for name, endings in store.endings(self.studies, images=True).items():
            if len(endings) > 1:
                _logger.warning("%d images are named %s; only %s is offered.", len(endings), name, name + endings[0])
        return store

    def init_infers(self) -> dict[str, Any]:
        """A model for each bundle, and one more for each task that takes clicks."""
        infers: dict[str, Any] = {}
        for name, model in self.models.items():
            if name in self.tasks:
                infers[name] = ProposeRegions(model)
                infers[name.replace("_segmentation", "_clicks")] = ProposeRegions(model, InferType.DEEPGROW)
            else:
                infers[name] = ScoreFindings(model) if name == CLASSIFIER_BUNDLE else ProposeFindings(model)
        return infers

    def init_trainers(self) -> dict[str, Any]:
        """A trainer for each task that has a pre-trained network."""
        return {name: TrainAdapters(model) for name, model in self.tasks.items() if model.pretrained}

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
            file, answer = task({**request, "image": path})
        except Exception as error:
            raise InputError(sentence_of(error) or f"{name} failed: {' '.join(str(error).split())[:300]}") from error
        label, tag = file, request.get("label_tag", ORIGINAL)
        if name in self.tasks and not uploaded:
            self._proposed[image] = self.tasks[name], store.final_label(image) is None
        if file and not uploaded and request.get("save_label", False):
            try:
                label = store.save_proposal(image, file, tag, name)
            except InputError:
                os.unlink(file)
                raise
        return {"label": label, "tag": tag, "file": file, "params": answer}

    def batch_infer(self, request: dict[str, Any], datastore: Any = None) -> Any:
        """Proposals for many images; with two workers an image that fails does not stop the others."""
        return super().batch_infer({"multi_gpu": torch.cuda.is_available(), "max_workers": 2, **request}, datastore)

    def usual_classes(self, image: str) -> list[str]:
        """Classes of the task that proposed last for an image, of the first task before."""
        model = self._proposed[image][0] if image in self._proposed else next(iter(self.tasks.values()), None)
        return model.classes if model else []

    def on_save_label(self, image_id: str, label_id: str) -> None:
        """Note how good the proposal was: it is compared with the annotator's first final label of its image."""
        store = self.datastore()
        saved, (model, unseen) = store.final_label(image_id), self._proposed.get(image_id, (None, False))
        if saved is None or model is None or not unseen or not model.is_ready():
            return
        self._proposed[image_id] = model, False
        mask, known = saved
        proposal = model.probabilities(store.get_image_uri(image_id))[0] > THRESHOLD
        drawn = zip(model.classes, proposal, split_classes(mask, model.classes), strict=True)
        scores = {name: dice(a, b) for name, a, b in drawn if name in known}
        info = {"proposal": {"model": model.name, "version": model.version, "dice": scores}}
        store.update_label_info(image_id, FINAL, info)
