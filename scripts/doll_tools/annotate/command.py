"""``doll annotate``: starts MONAI Label with the app."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.folder import lock_folder
from doll_tools.annotate.model import find_models
from doll_tools.arguments import bundles_folder

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
ENVIRONMENT = ".venv-label"
PYTHONS = ((3, 11), (3, 12))  # for which everything in the requirements exists
UNUSED = ("AUTO_UPDATE_SCORING", "TASKS_SCORING", "SESSIONS", "TRACKING_ENABLED")  # of MONAI Label's settings


def annotate(
    studies: str,
    run: str | None = None,
    bundles: str | None = None,
    output: str = "output/label_app",
    host: str = "127.0.0.1",
    port: int = 8000,
    image_size: int | None = None,
) -> None:
    """Serve images to annotators until Ctrl-C.

    Args:
        studies: folder of images, or address of a DICOMweb server such as http://localhost:8042/dicom-web.
        run: folder of a finished pipeline, such as output/demo, whose networks and weights are served.
        bundles: folder of the bundles; those that came with doll when absent.
        output: folder for what is trained, logs, and images of a server.
        host: address to listen at; the app asks nobody for a password, so others reach it only if you give 0.0.0.0.
        port: port to listen at.
        image_size: side of what the networks get in pixels; the pipeline's when absent.

    Raises:
        InputError: when something is missing.
    """
    remote = str(studies).startswith(("http://", "https://"))
    if not remote and not Path(studies).is_dir():
        raise InputError(f"The folder of images {studies} does not exist.")
    need_monailabel()
    conf = {"bundles": str(Path(bundles or bundles_folder()).resolve()), "host": host}
    conf |= {"run": str(Path(run).resolve())} if run else {}
    conf |= {"image_size": str(image_size)} if image_size else {}
    folder, address = Path(output).resolve(), f"http://{host}:{port}"
    served = find_models(conf, folder)
    _lock = lock_folder(folder, "label app")  # until this process ends
    write_atomic(folder / "main.py", b"from doll_tools.annotate.app import DollLabelApp\n")
    # MONAI Label leaves here what was sent to it when a request fails: nobody but the user may look
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    (folder / "tmp").mkdir(mode=0o700)
    tempfile.tempdir = str(folder / "tmp")
    os.environ |= {f"MONAI_LABEL_{name}": "false" for name in UNUSED} | {
        "TMPDIR": tempfile.tempdir,
        "MONAI_LABEL_APP_DIR": str(folder),
        "MONAI_LABEL_STUDIES": str(studies) if remote else str(Path(studies).resolve()),
        "MONAI_LABEL_APP_CONF": json.dumps(conf),
        "MONAI_LABEL_SERVER_PORT": str(port),
    }
    os.environ.setdefault("PYTHONPATH", "")  # MONAI Label's trainings read it
    print(f"Served: {', '.join(served)}")
    print(f"Annotate in a browser:        {address}/annotate")
    print(f"3D Slicer, CVAT, programs:    {address}")
    print(f"Trained adapters and logs:    {folder}", flush=True)
    import uvicorn  # MONAI Label reads its settings from the environment when it is imported
    from monailabel.config import settings
    from monailabel.utils.others.generic import init_log_config

    # by default pages of any origin read images; MONAI Label's trainings fail where this comes from the environment
    settings.MONAI_LABEL_CORS_ORIGINS = [address]
    log = init_log_config(None, str(folder), "app.log", "WARNING")
    uvicorn.run("doll_tools.annotate.server:app", host=host, port=port, log_level="warning", log_config=log)


def need_monailabel() -> None:
    """Raises: InputError: when MONAI Label is not installed here; it has the commands that install it."""
    if importlib.util.find_spec("monailabel") is not None:
        return
    python = "python3" if sys.version_info[:2] in PYTHONS else "python3.11"
    binaries = Path(ENVIRONMENT) / ("Scripts" if os.name == "nt" else "bin")
    install = [str(binaries / "python"), "-m", "pip", "install", "--no-deps", "-r", str(REQUIREMENTS), _source()]
    raise InputError(
        "MONAI Label wants an environment of its own, with older versions of some packages (Python 3.11 or 3.12, "
        f"several GB). These two commands make it:\n\n    {python} -m venv {ENVIRONMENT}\n    {shlex.join(install)}\n\n"
        f"Then use {binaries / 'doll'} annotate."
    )


def _source() -> str:
    """What pip installs doll-monai from: this checkout, the file that this installation came from, or its name."""
    checkout = bundles_folder().parent
    if (checkout / "pyproject.toml").is_file():
        return str(checkout)
    own = distribution("doll-monai")
    origin = urlparse(json.loads(own.read_text("direct_url.json") or "{}").get("url", ""))
    path = url2pathname(origin.path)
    return path if origin.scheme == "file" and os.path.exists(path) else f"doll-monai=={own.version}"
