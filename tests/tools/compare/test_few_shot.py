"""Benchmarks of several tasks in one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from doll_monai.utils.errors import InputError
from doll_tools.compare.few_shot import FEW_SHOT, iterations_needed, summarize_comparisons
from doll_tools.compare.image_scores import METRICS
from doll_tools.compare.results import COLUMNS


def _write(folder: Path, task: str) -> Path:
    folder.mkdir()
    cell = {"initialization": "doll", "tuning": "full", "shots": 5}
    values = (
        dict.fromkeys(COLUMNS, 1) | cell | {"task": task, "seed": 0, "class": "lungs", "split": "test", "fold": None}
    )
    pd.DataFrame([values])[COLUMNS].to_csv(folder / "results.csv", index=False)
    curve = {**cell, "seed": 0, "iteration": 10, "iou": 0.5, "dice": 0.6}
    pd.DataFrame([curve]).to_csv(folder / "curves.csv", index=False)
    scores = {f"{name}{end}": 0.5 for name in METRICS for end in ("", "_low", "_high")}
    rows = [{**cell, "split": split, "class": "all", "seeds": 3, "images": 7} | scores for split in ("test", "valid")]
    pd.DataFrame(rows).to_csv(folder / "summary.csv", index=False)
    return folder


def test_all_rows_are_in_the_table_and_test_images_on_the_page(tmp_path: Path) -> None:
    folders = [_write(tmp_path / task, task) for task in ("lungs", "covid")]
    summarize_comparisons(",".join(map(str, folders)), str(tmp_path / "docs"))
    table = pd.read_csv(tmp_path / "docs" / "few_shot.csv")
    assert list(table.columns) == FEW_SHOT
    assert table["task"].tolist() == ["lungs", "covid"]
    *_, first, second = (tmp_path / "docs" / "few_shot.md").read_text().splitlines()
    expected = ["lungs", "5", "doll", "full", "3", "7 of test", "all", "0.500 [0.500, 0.500]"]
    assert [cell.strip() for cell in first.strip("|").split("|")] == expected
    assert second.startswith("| covid")


def test_iterations_are_counted_until_the_last_value_of_scratch() -> None:
    cells = [("scratch", "full", 5, 0), ("doll", "full", 5, 0), ("doll", "head", 5, 0), ("doll", "full", 1, 0)]
    table = pd.DataFrame(cells, columns=["initialization", "tuning", "shots", "seed"])
    values = {0: (0.2, 0.4, 0.6), 1: (0.5, 0.7, 0.8), 2: (0.1, 0.2, 0.3), 3: (0.9, 0.9, 0.9)}
    curves = pd.concat(
        pd.DataFrame({**table.iloc[number], "iteration": [10, 20, 30], "iou": ious}) for number, ious in values.items()
    )
    needed = iterations_needed(table, curves)
    assert needed.tolist()[:2] == [30, 20]
    assert needed.isna().tolist() == [False, False, True, True], "never reached; no scratch with one shot"


def test_careless_use_is_explained_before_anything_is_written(tmp_path: Path) -> None:
    folder, output = _write(tmp_path / "lungs", "lungs"), str(tmp_path / "docs")
    with pytest.raises(InputError, match=r"results\.csv cannot be read; give a folder that doll compare wrote into"):
        summarize_comparisons(str(tmp_path), output)
    with pytest.raises(InputError, match="Two comparisons are of the task 'lungs'"):
        summarize_comparisons(f"{folder},{folder}", output)
    earlier = pd.read_csv(folder / "results.csv").rename(columns={"initialization": "init"})
    earlier.to_csv(folder / "results.csv", index=False)
    with pytest.raises(InputError, match=r"has no column initialization; .* run it again"):
        summarize_comparisons(str(folder), output)
    assert not (tmp_path / "docs").exists()
