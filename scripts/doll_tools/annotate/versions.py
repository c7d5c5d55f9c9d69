"""Adapters that were trained while people annotate: each a folder of its own, the one in use named by one small file.

    MODEL/0001/  adapter_0.pt, adapter_1.pt, stats.json
    MODEL/0002/  ...
    MODEL/current.json   {"version": 2}

A training writes into a folder whose name ends in ``.part``; only when it is done is the folder renamed, then
``current.json`` replaced. Whatever happens before leaves the last good version in use.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError

CURRENT = "current.json"
STATS = "stats.json"


@dataclass(frozen=True)
class Version:
    """Trained adapters.

    Args:
        number: 1, 2, ...
        folder: where they are.
    """

    number: int
    folder: Path

    @property
    def adapters(self) -> list[Path]:
        """``adapter_0.pt``, ``adapter_1.pt``, ..."""
        return sorted(self.folder.glob("adapter_*.pt"))

    @property
    def stats(self) -> dict[str, Any]:
        """How it was trained."""
        content: dict[str, Any] = json.loads((self.folder / STATS).read_text())
        return content


class Versions:
    """The versions of one model.

    Args:
        folder: of the model; made when something is trained.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def current(self) -> Version | None:
        """The version in use, None before the first training.

        Raises:
            InputError: when ``current.json`` names a folder that is gone.
        """
        try:
            number = int(json.loads((self.folder / CURRENT).read_text())["version"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.folder / CURRENT} cannot be read; restore it or delete it.") from error
        version = Version(number, self._folder(number))
        if not version.adapters:
            raise InputError(f"{version.folder} has no adapters; restore it or delete {self.folder / CURRENT}.")
        return version

    def begin(self) -> Path:
        """An empty folder for a training; what trainings that never ended left is deleted."""
        for left in self.folder.glob("*.part"):
            shutil.rmtree(left, ignore_errors=True)
        started = self.folder / f"{self._newest() + 1:04d}.part"
        started.mkdir(parents=True)
        return started

    def publish(self, started: Path, stats: dict[str, Any]) -> Version:
        """Put what was trained to use.

        Args:
            started: the folder from ``begin``, with ``adapter_0.pt`` and so on.
            stats: what is to be known of the training.
        """
        number = int(started.stem)
        write_atomic(started / STATS, json.dumps({**stats, "time": int(time.time())}, indent=2).encode())
        for extra in started.iterdir():
            if extra.is_dir():
                shutil.rmtree(extra)
        os.replace(started, self._folder(number))
        write_atomic(self.folder / CURRENT, json.dumps({"version": number}).encode())
        return Version(number, self._folder(number))

    def _folder(self, number: int) -> Path:
        return self.folder / f"{number:04d}"

    def _newest(self) -> int:
        return max((int(path.name) for path in self.folder.glob("[0-9]*") if path.name.isdigit()), default=0)
