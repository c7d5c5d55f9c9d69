"""A server as a user starts it, and what an annotation tool asks of it."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import time
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

    def label(self, image: str) -> dict[str, Any]:
        """What is known of an image's final label."""
        info: dict[str, Any] = self.ask("GET", f"/datastore/label/info?label={image}&tag=final").json()
        return info

    def train(self, model: str = "lung_cxr_segmentation", **params: Any) -> dict[str, Any]:
        """Train and wait."""
        answer = self.ask("POST", f"/train/{model}", json=params)
        assert answer.status_code == 200, answer.text
        while True:
            status: dict[str, Any] = self.ask("GET", "/train/").json()
            if status["status"] not in ("SUBMITTED", "RUNNING"):
                return status
            time.sleep(0.5)


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(studies: str, output: Path, run: Path) -> Server:
    """``doll annotate``, until it answers."""
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
    for _ in range(1200):
        if process.poll() is not None:
            break
        try:
            if server.ask("GET", "/info/").status_code == 200:
                return server
        except OSError:
            time.sleep(0.5)
    process.kill()
    raise AssertionError(log.read_text()[-3000:])


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice of two masks."""
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))
