"""Measure how large label files are and how long it takes to load one.

Example:
    python scripts/benchmark_label_files.py --output output/label_files.json
    python scripts/benchmark_label_files.py --labels output/demo/labels --output output/label_files.json
"""

from __future__ import annotations

import json
import logging
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from doll_monai.data.label_files import write_label
from doll_monai.findings import BACKGROUND, FINDINGS, FOREGROUND, IGNORE
from doll_monai.transforms.reading import LoadLabeld
from doll_monai.utils.atomic import write_whole
from doll_monai.utils.errors import InputError, run_program
from doll_monai.utils.progress import Bar


def benchmark(
    output: str, labels: str | None = None, size: int = 320, count: int = 100, seed: int = 0, quiet: bool = False
) -> None:
    """Load label files one by one with LoadLabeld and write sizes and times.

    Args:
        output: the .json file to write: files, bytes_mean, bytes_max, load_ms_median, load_ms_p95.
        labels: folder with label files; without it, files are made: 14 channels, in 2 or 3 of them a smooth place of
            10 % of the pixels with a band of 10 % ignored, one or two channels ignored, the rest background.
        size: width and height of the made ones.
        count: how many files, at most.
        seed: of the made ones.
        quiet: show no progress.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        if labels is None:
            generator = np.random.default_rng(seed)
            for number in range(count):
                write_label(Path(folder) / f"{number}.nii.gz", make_label(generator, size))
        files = sorted(Path(labels or folder).rglob("*.nii.gz"))[:count]
        if not files:
            raise InputError(f"There is no label file below {labels}.")
        figures = measure(Bar(files, name="labels", unit="file", quiet=quiet))
    write_whole(output, (json.dumps(figures, indent=2) + "\n").encode())
    print(json.dumps(figures, indent=2))


def make_label(generator: np.random.Generator, size: int) -> np.ndarray:
    """A label like those of a committee, (14, size, size) ``uint8``."""
    label = np.full((len(FINDINGS), size, size), BACKGROUND, dtype=np.uint8)
    positive, ignored = int(generator.choice([2, 2, 3])), int(generator.choice([0, 1]))
    channels = 1 + generator.permutation(len(FINDINGS) - 1)
    label[[0, *channels[positive : positive + ignored]]] = IGNORE
    tenth = size * size // 10
    for channel in channels[:positive]:
        evidence = gaussian_filter(generator.random((size, size)), 0.04 * size)
        order = np.argsort(-evidence, axis=None)
        label[channel].flat[order[:tenth]] = FOREGROUND
        label[channel].flat[order[tenth : 2 * tenth]] = IGNORE
    return label


def measure(files: Iterable[Path]) -> dict[str, float]:
    """Sizes in bytes and loading times in milliseconds; each file is read once before: no disk counts."""
    load = LoadLabeld("label", channels=len(FINDINGS))
    times, sizes = [], []
    for path in files:
        load({"label": path})
        started = time.perf_counter()
        load({"label": path})
        times.append(1000 * (time.perf_counter() - started))
        sizes.append(path.stat().st_size)
    return {
        "files": len(sizes),
        "bytes_mean": round(statistics.mean(sizes)),
        "bytes_max": max(sizes),
        "load_ms_median": round(statistics.median(times), 2),
        "load_ms_p95": round(float(np.quantile(times, 0.95)), 2),
    }


if __name__ == "__main__":
    run_program(benchmark)
