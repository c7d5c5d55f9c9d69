"""Starting MONAI Label with the app."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.folder_lock import lock_folder
from doll_tools.annotate.served import find_bundles, write_served

STAND_IN = Path(__file__).parent / "stand_in"
MAIN = '''"""Where MONAI Label looks for the app."""

from doll_tools.annotate.app import DollLabelApp


class App(DollLabelApp):
    """The app."""
'''
HOST = "DOLL_MONAI_LABEL_HOST"
"""Environment variable: where the app listens."""
SETTINGS = {
    "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
    "MONAI_LABEL_TASKS_SCORING": "false",
    "MONAI_LABEL_SESSIONS": "false",
    "MONAI_LABEL_TRACKING_ENABLED": "false",
}
"""What MONAI Label offers and the app has no use for."""


def start(
    studies: str,
    run: str | None = None,
    bundles: str = "bundles",
    output: str = "output/label_app",
    host: str = "127.0.0.1",
    port: int = 8000,
    image_size: int | None = None,
) -> None:
    """Serve images to annotators until Ctrl-C.

    Args:
        studies: folder of images, or address of a DICOMweb server such as http://localhost:8042/dicom-web.
        run: folder of a finished pipeline, such as output/demo, whose networks and weights are served.
        bundles: folder of the bundles.
        output: folder for what is trained, logs, and images of a server.
        host: address to listen at; the app asks nobody for a password, so others reach it only if you give 0.0.0.0.
        port: port to listen at.
        image_size: side of what the networks get in pixels; the pipeline's when absent.

    Raises:
        InputError: when something is missing.
    """
    if not str(studies).startswith(("http://", "https://")) and not Path(studies).is_dir():
        raise InputError(f"The folder of images {studies} does not exist.")
    if importlib.util.find_spec("monailabel") is None:
        raise InputError("MONAI Label is not installed here; `make label STUDIES=DIR` makes an environment for it.")
    served = find_bundles(Path(bundles), Path(run) if run else None, image_size)
    _check_port(host, port)
    folder = Path(output).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _lock = lock_folder(folder, "label app")  # until this process ends
    _own_temporary_folder(folder / "tmp")
    write_served(folder, served)
    write_atomic(folder / "main.py", MAIN.encode())
    os.environ.update(SETTINGS)
    address = f"http://{host}:{port}"
    os.environ[HOST] = host
    _stand_in_for_torchvision()
    print(f"Served: {', '.join(bundle.name for bundle in served)}")
    print(f"Annotate in a browser:        {address}/annotate")
    print(f"3D Slicer, CVAT, programs:    {address}")
    print(f"Trained adapters and logs:    {folder}", flush=True)
    from monailabel.main import Main

    arguments = ["--app", str(folder), "--studies", str(studies), "--host", host, "--port", str(port)]
    quiet = ["--verbose", "WARNING", "--log_level", "warning", "--uvicorn_app", "doll_tools.annotate.server:app"]
    sys.argv = ["monailabel", "start_server", *arguments, *quiet]
    Main(loglevel=30).run()


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(f"Nothing can listen at {host}:{port}: {error.strerror}; give another --port.") from error


def _own_temporary_folder(folder: Path) -> None:
    """MONAI Label leaves there what was sent to it when a request fails: nobody but the user may look."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def _stand_in_for_torchvision() -> None:
    """MONAI Label imports two functions of torchvision; a build for another torch, or none, must not stop it."""
    try:
        importlib.import_module("torchvision.utils")
    except Exception:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.path.insert(0, str(STAND_IN))
        os.environ["PYTHONPATH"] = os.pathsep.join([str(STAND_IN), os.environ.get("PYTHONPATH", "")])
