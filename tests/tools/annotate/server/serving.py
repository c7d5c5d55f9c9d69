"""A server as a user starts it, and what an annotation tool asks of it."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import requests
from PIL import Image

ROOT = Path(__file__).resolve().parents[4]
IMAGES = 12


@dataclass
class Server:
    """A running app and what it serves."""

    address: str
    images: Path
    output: Path
    process: subprocess.Popen

    def ask(self, method: str, path: str, **options: Any) -> Any:
        return requests.request(method, self.address + path, timeout=120, **options)

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def infer(self, image: str, model: str = "lung_cxr_segmentation", **params: Any) -> np.ndarray:
        """The mask that is proposed, (H, W)."""
        form = {"params": json.dumps({"result_extension": ".png", **params})}
        answer = self.ask("POST", f"/infer/{model}?image={image}&output=image", data=form)
        assert answer.status_code == 200, answer.text
        return np.asarray(Image.open(io.BytesIO(answer.content)))

    def save(self, image: str, mask: np.ndarray, tag: str = "final", **params: Any) -> Any:
        """Save a mask as an annotation tool does."""
        buffer = io.BytesIO()
        Image.fromarray(mask.astype(np.uint8)).save(buffer, "PNG")
        files = {"label": ("label.png", buffer.getvalue(), "image/png")}
        data = {"params": json.dumps(params)}
        return self.ask("PUT", f"/datastore/label?image={image}&tag={tag}", files=files, data=data)

    def stored(self, image: str, tag: str = "final") -> np.ndarray:
        """A label's file, (H, W)."""
        return np.asarray(Image.open(self.images / "labels" / tag / f"{image}.png"))

    def info(self, image: str) -> dict[str, Any]:
        """What is known of an image's final label."""
        return self.get(f"/datastore/label/info?label={image}&tag=final")

    def train(self, model: str = "lung_cxr_segmentation", **params: Any) -> dict[str, Any]:
        """Train and wait."""
        answer = self.ask("POST", f"/train/{model}", json=params)
        assert answer.status_code == 200, answer.text
        wait_for(lambda: self.get("/train/")["status"] not in ("SUBMITTED", "RUNNING"))
        return self.get("/train/")


def wait_for(done: Callable[[], bool]) -> None:
    """Ask again and again until it is done; a test's own time limit ends it."""
    while not done():
        time.sleep(0.2)


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def start_server(studies: str, output: Path, run: Path) -> Iterator[Server]:
    """``doll annotate`` once it answers; it is ended afterwards."""
    port = free_port()
    command = [sys.executable, "-m", "doll_tools", "annotate", studies, "--run", str(run), "--output", str(output)]
    log = output.parent / f"{output.name}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--bundles", str(ROOT / "bundles"), "--port", str(port)],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    server = Server(f"http://127.0.0.1:{port}", Path(studies), output, process)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            return server.ask("GET", "/info/").status_code == 200
        except OSError:
            return False

    try:
        wait_for(answers)
        yield server
    finally:
        process.terminate()
        process.wait(20)
