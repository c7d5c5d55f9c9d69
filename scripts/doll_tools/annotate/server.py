"""MONAI Label's web server, with the page for annotating and errors in one sentence."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout

from fastapi import Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse
from monailabel.interfaces.exception import MONAILabelException
from requests.exceptions import RequestException

from doll_monai.utils.errors import InputError, sentence_of
from doll_tools.annotate.page import router
from doll_tools.annotate.start import HOST

with redirect_stdout(io.StringIO()):  # it says that all origins may ask, which is changed below
    from monailabel.app import app

LOOPBACK = ("127.0.0.1", "localhost", "::1")

# MONAI Label lets pages of any origin read images; the app's own page needs no such leave, other programs neither
app.user_middleware = [item for item in app.user_middleware if item.cls is not CORSMiddleware]
if os.environ.get(HOST) in LOOPBACK:
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK))
app.include_router(router)


@app.exception_handler(InputError)
async def _input_error(request: Request, error: InputError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=400)


@app.exception_handler(RequestException)
async def _server_error(request: Request, error: RequestException) -> JSONResponse:
    return JSONResponse({"detail": f"The server of the images does not answer: {error}"}, status_code=502)


@app.exception_handler(ValueError)
@app.exception_handler(TypeError)
async def _wrong_request(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": sentence_of(error) or f"The request cannot be read: {error}"}, status_code=400)


@app.exception_handler(MONAILabelException)
async def _monailabel_error(request: Request, error: MONAILabelException) -> JSONResponse:
    return JSONResponse({"detail": error.msg}, status_code=400)
