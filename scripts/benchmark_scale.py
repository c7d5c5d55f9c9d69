"""Measure whether preparation and label generation take time in proportion to the films, and memory that stays.

Example:
    python scripts/benchmark_scale.py --count 20000 --output output/scale

draws synthetic films (once), prepares a quarter, a half and all of them, and labels all of them with a narrow network
of random weights. Its speed says nothing about real networks; how time and memory grow does. Linux alone.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from doll_monai.data.datalist import SECTIONS
from doll_monai.networks.weights import save_weights
from doll_monai.utils.atomic import write_whole
from doll_monai.utils.errors import InputError, run_program
from doll_monai.utils.progress import environment
from doll_tools.phantom.dataset import write_dataset
from doll_tools.pipeline.stages import bundle_run

ROOT = Path(__file__).resolve().parent.parent
BUNDLE = ROOT / "bundles" / "doll_cxr_label_generation"
MEMBER = ROOT / "bundles" / "chexpert_cxr_classification" / "configs" / "members" / "resnet10_narrow.json"
QUARTERS = (0.25, 0.5, 0.75, 1.0)
EVERY = 0.5
"""Seconds between two looks at a process."""


def benchmark(
    count: int = 20000, output: str = "output/scale", size: int = 64, image_size: int = 32, quiet: bool = False
) -> None:
    """Draw, prepare and label films; write scale.json.

    Args:
        count: films.
        output: folder for films, labels and scale.json; films that are there are taken again.
        size: longer side of the films.
        image_size: sides of the labels.
        quiet: show no progress.
    """
    folder = Path(str(output)).resolve()
    films = folder / "films"
    if not (films / "train.csv").is_file():
        write_dataset(films, count=count, seed=0, size=size, quiet=quiet)
    drawn = json.loads((films / "phantom.json").read_text())["count"]
    if drawn != count:
        raise InputError(f"{films} has {drawn} films, not {count}; give that count, or another output.")
    prepared = {f"{share:g}": _prepare(films, folder / f"part{share:g}", share, quiet) for share in (0.25, 0.5, 1.0)}
    labelled = _label(films, folder, image_size, quiet)
    figures = {"films": count, "size": size, "image_size": image_size, "prepare": prepared, "label": labelled}
    write_whole(folder / "scale.json", (json.dumps(figures, indent=2) + "\n").encode())
    print(json.dumps(figures, indent=2))


def _prepare(films: Path, folder: Path, share: float, quiet: bool) -> dict[str, float]:
    """Seconds and peak memory of prepare_chexpert.py on the first films of the table."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = 0
    for name in ("train", "valid"):
        if not (folder / name).exists():
            (folder / name).symlink_to(films / name)
        with (films / f"{name}.csv").open(newline="") as file:
            table = list(csv.reader(file))
        kept = table[: 1 + round(share * (len(table) - 1))]
        rows += len(kept) - 1
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(kept)
    program = [sys.executable, str(ROOT / "scripts" / "prepare_chexpert.py"), "--dataset_dir", str(folder)]
    seconds, samples = _watch(
        [*program, "--output", str(folder / "dataset.json"), "--validation_share", "0.1"], lambda: 0, quiet
    )
    return {"rows": rows, "seconds": round(seconds, 1), "peak_mib": max(memory for _, _, memory in samples)}


def _label(films: Path, folder: Path, image_size: int, quiet: bool) -> dict[str, Any]:
    """Films a second and resident memory in each quarter of a label run."""
    member = json.loads(MEMBER.read_text())["network_def"]
    definition = {"_target_": "doll_monai.networks.Committee", "members": [member]}
    write_whole(folder / "committee.json", json.dumps({"network_def": definition}).encode())
    torch.manual_seed(0)
    save_weights(ConfigParser(definition).get_parsed_content().state_dict(), folder / "committee.pt")
    values: dict[str, Any] = {
        "dataset_dir": films,
        "datalist": folder / "part1" / "dataset.json",
        "output_dir": folder / "labels",
    }
    values |= {"checkpoint": folder / "committee.pt", "image_size": [image_size, image_size], "ig_steps": 3}
    values |= {"num_workers": 0, "batch_size": 16, "ig_max_steps": 3}
    rows = folder / "labels" / "rows"
    if rows.exists():
        raise InputError(f"{rows.parent} holds labels already; delete it to measure anew.")
    configs = [BUNDLE / "configs" / "inference.json", folder / "committee.json"]
    command = [sys.executable, *bundle_run(configs, BUNDLE, **values)[1:]]
    seconds, samples = _watch(command, lambda: len(os.listdir(rows)) if rows.is_dir() else 0, quiet)
    chunks = len(os.listdir(rows))
    marks = [next(sample for sample in samples if sample[1] >= part * chunks) for part in (0.02, *QUARTERS)]
    written = json.loads((folder / "labels" / "dataset.json").read_text())
    films_each = sum(len(written.get(section, [])) for section in SECTIONS) / chunks
    quarters = [
        {
            "films": round(after[1] * films_each),
            "films_per_second": round((after[1] - before[1]) * films_each / (after[0] - before[0]), 1),
            "mib": after[2],
        }
        for before, after in zip(marks, islice(marks, 1, None), strict=False)
    ]
    size = sum(path.stat().st_size for path in (folder / "labels" / "labels").rglob("*.nii.gz"))
    return {
        "seconds": round(seconds),
        "quarters": quarters,
        "memory_growth": round(quarters[-1]["mib"] / quarters[0]["mib"], 3),
        "slowdown": round(quarters[0]["films_per_second"] / quarters[-1]["films_per_second"], 3),
        "bytes_a_label": round(size / max(1, quarters[-1]["films"])),
    }


def _watch(command: list[str], progress: Any, quiet: bool) -> tuple[float, list[tuple[float, int, int]]]:
    """Run a command; seconds that it took, and (seconds, progress, resident MiB) again and again."""
    started = time.perf_counter()
    samples = []
    variables = {**os.environ, **environment(quiet)}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=variables) as process:
        while process.poll() is None:
            samples.append((time.perf_counter() - started, progress(), _resident(process.pid)))
            time.sleep(EVERY)
    if process.returncode:
        raise InputError(f"This command failed: {' '.join(command)}")
    seconds = time.perf_counter() - started
    return seconds, [*samples, (seconds, progress(), samples[-1][2])]


def _resident(pid: int) -> int:
    """Resident memory of a process in MiB; 0 when it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")), 0)


if __name__ == "__main__":
    run_program(benchmark)
