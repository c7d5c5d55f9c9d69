"""``pipeline.json``: what was run, for the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import monai
import torch

import doll_monai
from doll_monai.data.datalist import write_atomic
from doll_monai.inferers.autocast import preferred_dtype


def describe(chexpert: str, task: str, task_data: str, preset: str, root: Path, tracking_uri: str) -> dict[str, Any]:
    """What a pipeline is run with: data, preset, versions, device and precision."""
    values = json.loads((root / "scripts" / "doll_tools" / "pipeline" / "presets" / f"{preset}.json").read_text())
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if kind == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return {
        "preset": preset,
        "chexpert": str(Path(chexpert).resolve()),
        "task": task,
        "task_data": str(Path(task_data).resolve()),
        "mlflow": tracking_uri,
        "members": values["members"],
        "image_size": values["image_size"],
        "versions": {"doll_monai": doll_monai.__version__, "torch": torch.__version__, "monai": monai.__version__},
        "device": f"{name}, {str(preferred_dtype(kind)).removeprefix('torch.')}",
    }


def write_record(output: Path, settings: Mapping[str, Any], stages: Sequence[Mapping[str, Any]]) -> None:
    """Write ``pipeline.json`` into the run's folder."""
    written = datetime.now(timezone.utc).isoformat(timespec="seconds")
    content = json.dumps({**settings, "written": written, "stages": list(stages)}, indent=2) + "\n"
    write_atomic(output / "pipeline.json", content.encode())
