"""The page for annotating in a browser, and what it asks for beside MONAI Label's own addresses."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse, Response
from monailabel.interfaces.utils.app import app_instance
from PIL import Image

from doll_tools.annotate.datastore import image_seg
from doll_tools.annotate.safe_labels import FINAL
from doll_tools.annotate.served import CLASSIFIER_BUNDLE, FINDINGS_BUNDLE

PAGE = Path(__file__).with_name("page.html")
router = APIRouter(tags=["doll-monai"])


@router.get("/annotate", response_class=HTMLResponse)
def annotate() -> str:
    """The page."""
    return PAGE.read_text(encoding="utf-8")


@router.get("/doll/images")
def images() -> dict[str, Any]:
    """Images, classes and tasks."""
    app = app_instance()
    store = app.datastore()
    done = set(store.get_labeled_images())
    return {
        "images": [{"id": name, "labeled": name in done} for name in sorted(store.list_images())],
        "bits": app.bits,
        "tasks": {
            name: {
                "classes": model.classes,
                "ready": model.is_ready(),
                "trainable": name in app._trainers,
                "version": model.version,
            }
            for name, model in app.tasks.items()
        },
        "findings": FINDINGS_BUNDLE if FINDINGS_BUNDLE in app.models else None,
        "classifier": CLASSIFIER_BUNDLE if CLASSIFIER_BUNDLE in app.models else None,
    }


@router.get("/doll/image")
def radiograph(image: str) -> Response:
    """A radiograph as a grey PNG in its own grid, between its 1st and 99th percentile."""
    store = app_instance().datastore()
    values = store._load({"image": store.image(image).path})["image"][0].numpy().T
    low, high = np.percentile(values, (1, 99))
    return _png((np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8))


@router.get("/doll/label")
def label(image: str) -> Response:
    """An image's final label as a PNG in its grid."""
    mask = app_instance().datastore().mask(image, FINAL)
    if mask is None:
        raise HTTPException(status_code=404, detail=f"{image} has no final label yet.")
    return _png(mask)


@router.get("/doll/seg")
def seg(image: str) -> Response:
    """A DICOM image's final label as DICOM SEG."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seg.dcm"
        if not image_seg(app_instance().datastore(), image, path):
            raise HTTPException(status_code=404, detail=f"The final label of {image} is empty.")
        return Response(path.read_bytes(), media_type="application/dicom")


def _png(values: np.ndarray) -> Response:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", compress_level=1)
    return Response(buffer.getvalue(), media_type="image/png", headers={"Cache-Control": "no-store"})
