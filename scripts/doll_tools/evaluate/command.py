"""Do labels show what the classifiers know? A gate before pre-training: known places, chance, and a sanity check.

Example:
    doll evaluate --chexpert data/CheXpert-v1.0-small --datalist output/run/chexpert/dataset.json \
--truth data/truth.csv --committee output/run/configs/committee.json --checkpoint output/run/committee/model.pt \
--output output/evaluation --image_size 192 --ig_steps 16
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from doll_monai.utils.errors import InputError
from doll_tools.folders import bundles_folder

BUNDLES = bundles_folder()
CLOSED = 3
"""Exit code of a closed gate; a mistake in the arguments or data is 1."""


def evaluate_labels(
    chexpert: str,
    checkpoint: str,
    output: str,
    truth: str | None = None,
    datalist: str | None = None,
    committee: str | None = None,
    image_size: int | Sequence[int] | None = None,
    sections: str | Sequence[str] | None = None,
    choose_on: str | None = None,
    sources: str | Sequence[str] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    gate: bool | str = False,
    tracking_uri: str | None = None,
    quiet: bool = False,
    **values: Any,
) -> None:
    """Score the labels' maps against known places, compare them with chance and randomized networks, say a verdict.

    Args:
        chexpert: folder of the images, in CheXpert's layout.
        checkpoint: the committee's model.pt.
        output: folder for evaluation.csv, evaluation.json, evaluation.md, pairs.csv and MLflow.
        truth: truth.csv or boxes.csv, or CheXlocalize's JSON of masks; the first that is in chexpert by default.
        datalist: the images' dataset.json; that in chexpert by default.
        committee: configuration with network_def, see write_committee.py; the bundle's own by default.
        image_size: one number or two, as in label generation.
        sections: with commas between; all of the datalist by default. Their images are never pooled.
        choose_on: section whose images choose each source's best foreground share for the other sections.
        sources: consensus, member_0, ..., gradcam, randomized, chance; with commas between, all by default.
        resamples: draws of the 95 % intervals, 1000 or more.
        seed: of the intervals and the randomized networks.
        gate: true: exit with code 3 unless the labels of the images furthest from training pass.
        tracking_uri: of MLflow; SQLite in output by default.
        quiet: show no progress.
        values: any value of the label generation bundle, such as ig_steps or foreground_share.
    """
    from doll_tools.evaluate.program import Evaluation
    from doll_tools.evaluate.request import EvaluationRequest

    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    closes = {"true": True, "false": False}.get(str(gate).lower())
    if closes is None:
        raise InputError(f"gate must be true or false, not '{gate}'.")
    folder = Path(str(chexpert)).resolve()
    places = [folder / name for name in ("truth.csv", "boxes.csv")] if truth is None else [Path(str(truth)).resolve()]
    size = {} if image_size is None else {"image_size": [image_size] * 2 if isinstance(image_size, int) else image_size}
    request = EvaluationRequest(
        bundles=BUNDLES,
        chexpert=folder,
        datalist=Path(str(datalist)).resolve() if datalist else folder / "dataset.json",
        checkpoint=Path(str(checkpoint)).resolve(),
        truth=next((path for path in places if path.is_file()), places[0]),
        output=Path(str(output)).resolve(),
        committee=Path(str(committee)).resolve() if committee else None,
        sections=_names(sections),
        values={name: _plain(value) for name, value in {**size, **values, "seed": seed}.items()},
    )
    evaluation = Evaluation(request, _names(sources), choose_on, resamples, seed, tracking_uri, quiet)
    verdict = evaluation.run()
    print(f"{request.output / 'evaluation.md'}")
    if closes and not verdict.passed:
        sys.exit(CLOSED)


def _names(value: str | Sequence[str] | None) -> list[str] | None:
    """Names with commas between, or what fire has made of them already."""
    return value.split(",") if isinstance(value, str) else None if value is None else list(value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
