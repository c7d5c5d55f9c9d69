"""MONAI Label's web server with the page for annotating, what the page asks for, and errors in one sentence."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, HTTPException, Request
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import HTMLResponse, JSONResponse, Response
from monailabel.app import app
from monailabel.config import settings
from monailabel.interfaces.exception import MONAILabelException
from monailabel.interfaces.utils.app import app_instance
from PIL import Image
from requests.exceptions import RequestException

from doll_monai.utils.errors import sentence_of
from doll_tools.annotate.dicom import make_seg
from doll_tools.annotate.masks import BITS
from doll_tools.annotate.model import CLASSIFIER_BUNDLE, FINDINGS_BUNDLE

PAGE = Path(__file__).with_name("page.html")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
router = APIRouter(tags=["doll-monai"])


@router.get("/annotate", response_class=HTMLResponse)
def annotate() -> str:
    """The page."""
    return PAGE.read_text(encoding="utf-8")


@router.get("/doll/images")
def images() -> dict[str, Any]:
    """Images, classes and tasks."""
    served, store = app_instance(), app_instance().datastore()
    done = set(store.get_labeled_images())
    return {
        "images": [{"id": name, "labeled": name in done} for name in sorted(store.list_images())],
        "bits": BITS,
        "tasks": {
            name: {
                "classes": model.classes,
                "ready": model.is_ready(),
                "trainable": bool(model.pretrained),
                "version": model.version,
            }
            for name, model in served.tasks.items()
        },
        "findings": FINDINGS_BUNDLE if FINDINGS_BUNDLE in served.models else None,
        "classifier": CLASSIFIER_BUNDLE if CLASSIFIER_BUNDLE in served.models else None,
    }


@router.get("/doll/image")
def image(image: str) -> Response:
    """An image as a gray PNG in its own grid, between its 1st and 99th percentile."""
    values = app_instance().datastore().radiograph(image)[0].numpy().T
    low, high = np.percentile(values, (1, 99))
    return _png((np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8))


@router.get("/doll/label")
def label(image: str) -> Response:
    """An image's final label as a PNG in its grid."""
    saved = app_instance().datastore().final_label(image)
    if saved is None:
        raise HTTPException(status_code=404, detail=f"{image} has no final label yet.")
    return _png(saved[0])


@router.get("/doll/seg")
def seg(image: str) -> Response:
    """A DICOM image's final label as DICOM SEG."""
    found = make_seg(app_instance().datastore(), image)
    if found is None:
        raise HTTPException(status_code=404, detail=f"The final label of {image} is empty.")
    buffer = io.BytesIO()
    found.save_as(buffer)
    return Response(buffer.getvalue(), media_type="application/dicom")


def _png(values: np.ndarray) -> Response:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", compress_level=1)
    return Response(buffer.getvalue(), media_type="image/png", headers={"Cache-Control": "no-store"})


@app.exception_handler(ValueError)
@app.exception_handler(TypeError)
@app.exception_handler(MONAILabelException)
@app.exception_handler(RequestException)
async def _say(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RequestException):
        return JSONResponse({"detail": f"The server of the images does not answer: {error}"}, status_code=502)
    if isinstance(error, MONAILabelException):
        return JSONResponse({"detail": error.msg}, status_code=400)
    return JSONResponse({"detail": sentence_of(error) or f"The request cannot be read: {error}"}, status_code=400)


if settings.MONAI_LABEL_APP_CONF.get("host") in LOOPBACK:
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK))
app.include_router(router)
