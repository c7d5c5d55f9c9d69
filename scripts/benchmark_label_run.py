"""Measure how much sooner labels are ready when two processes share the films, and that they are the same files.

Example:
    python scripts/benchmark_label_run.py --chexpert CheXpert-v1.0-small --datalist output/chexpert/dataset.json \
        --committee output/demo/configs/committee.json --checkpoint output/demo/committee/model.pt \
        --count 128 --output output/label_run.json
"""

from __future__ import annotations

import filecmp
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from doll_monai.data.datalist import load_datalist, write_datalist
from doll_monai.utils.atomic import write_whole
from doll_monai.utils.errors import InputError, run_program
from doll_monai.utils.progress import Bar
from doll_tools.pipeline.stages import bundle_run

BUNDLE = Path(__file__).resolve().parent.parent / "bundles" / "doll_cxr_label_generation"


def benchmark(
    chexpert: str,
    datalist: str,
    committee: str,
    checkpoint: str,
    output: str,
    count: int = 128,
    section: str = "training",
    processes: int = 2,
    threads: int = 1,
    repeats: int = 1,
    overrides: dict[str, Any] | None = None,
    quiet: bool = False,
) -> None:
    """Label the same films with one process and with several; write seconds (start of Python to its end) and ratio.

    All processes have the same number of threads. The films are cut into chunks of batch_size; the count should be a
    multiple of batch_size times processes, or some processes have more to do than others.

    Args:
        chexpert: folder of the films.
        datalist: their dataset.json.
        committee: configuration file with the committee's network_def.
        checkpoint: the committee's model.pt.
        output: the .json file to write.
        count: how many films, the first ones of the section.
        section: section of the datalist.
        processes: how many processes share the work.
        threads: threads of each process (OMP_NUM_THREADS).
        repeats: how often each is run; the shortest time counts.
        overrides: other values of inference.json, for example '{image_size: [320, 320], ig_steps: 8}'.
        quiet: show no progress.
    """
    files = [Path(path).resolve() for path in (chexpert, datalist, committee, checkpoint)]
    records = load_datalist(files[1], section, files[0])[:count]
    seconds: dict[int, list[float]] = {1: [], processes: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = [{**record, "image": os.path.relpath(record["image"], files[0])} for record in records]
        write_datalist(folder / "dataset.json", {section: chosen})
        values = {"dataset_dir": files[0], "datalist": folder / "dataset.json", "sections": [section]}
        values |= {"checkpoint": files[3], **(overrides or {})}
        configs = [BUNDLE / "configs" / "inference.json", files[2]]
        runs = [(repeat, number) for repeat in range(repeats) for number in seconds]
        for repeat, number in Bar(runs, name="label runs", unit="run", quiet=quiet):
            place = folder / f"{number}_{repeat}"
            seconds[number].append(timed(configs, {**values, "output_dir": place}, number, threads))
        different = differences(folder / "1_0", folder / f"{processes}_0")
    one, several = (min(seconds[number]) for number in (1, processes))
    figures = {
        "films": len(records),
        "threads": threads,
        "overrides": overrides or {},
        "seconds_1": round(one, 1),
        f"seconds_{processes}": round(several, 1),
        "ratio": round(several / one, 3),
        "identical_files": not different,
        "different": different[:10],
        "all_seconds": {str(number): [round(value, 1) for value in values] for number, values in seconds.items()},
    }
    write_whole(output, (json.dumps(figures, indent=2) + "\n").encode())
    print(json.dumps(figures, indent=2))


def timed(configs: Sequence[Path], values: dict[str, Any], processes: int, threads: int) -> float:
    """Seconds that a run takes.

    Raises:
        InputError: when it fails.
    """
    command = [sys.executable, *bundle_run(configs, BUNDLE, **values)[1:]]
    if processes > 1:
        command[1:1] = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        said = [line for line in result.stdout.splitlines() if line.startswith("Error: ")]
        reason = said[-1].removeprefix("Error: ") if said else result.stdout[-2000:]
        raise InputError(f"The run with {processes} processes failed: {reason}")
    return time.perf_counter() - started


def differences(first: Path, second: Path) -> list[str]:
    """Files that only one of two folders has, or that are not the same in both."""
    names = [
        {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        for folder in (first, second)
    ]
    _, unlike, unreadable = filecmp.cmpfiles(first, second, sorted(names[0] & names[1]), shallow=False)
    return sorted({*(names[0] ^ names[1]), *unlike, *unreadable})


if __name__ == "__main__":
    run_program(benchmark)
