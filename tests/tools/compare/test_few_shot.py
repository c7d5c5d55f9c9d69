"""Several comparisons in one table: aims on synthetic results whose differences are known."""

from __future__ import annotations

import json
import math
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from doll_monai.metrics.paired_differences import crossed_interval, tasks_interval
from doll_monai.utils.errors import InputError
from doll_tools.compare.aims import Aims, Names, share_of_iterations
from doll_tools.compare.measured import read_tasks
from doll_tools.compare.results import COLUMNS

PROGRAM = Path(__file__).resolve().parents[3] / "scripts" / "summarize_comparisons.py"
TRAINED = {"full": 1000, "adapter": 20, "lora": 10, "scale_shift": 60, "head": 1}
CELLS = {
    # init, tuning: IoU on valid, on test, iteration at which the curve is at 0.5
    ("scratch", "full"): (0.5, 0.50, 40),
    ("classifier", "full"): (0.5, 0.52, 40),
    ("doll_backbone", "full"): (0.5, 0.57, 40),
    ("doll", "full"): (0.6, 0.55, 20),
    ("doll", "adapter"): (0.7, 0.65, 10),
    ("doll", "lora"): (0.5, 0.90, 40),
    ("doll", "scale_shift"): (0.8, 0.40, 40),
    ("doll", "head"): (0.3, 0.20, 50),
}
CLASSES = {"chest": ("lungs", "heart"), "covid": ("infection",)}
SHIFT = {"lungs": 0.0, "heart": 0.1, "infection": -0.3}
"""A class's IoU beside that of the table; DoLL's is 0.03 more than that for infection."""


def _write(folder: Path, task: str, cells: dict[tuple[str, str], Any], shots: int = 5, **settings: Any) -> Path:
    """A comparison's files: two seeds, three test images, two valid images."""
    images, curves, results = [], [], []
    for (init, tuning), (valid, test, fast) in cells.items():
        for seed in (0, 1):
            cell = {"init": init, "tuning": tuning, "shots": shots, "seed": seed}
            places = [("valid", valid, 2), ("test", test, 3), ("elsewhere", test - 0.2, 4 if task == "chest" else 0)]
            for split, value, count in places:
                for image, name in ((image, name) for image in range(count) for name in CLASSES[task]):
                    more = 0.03 * (init == "doll" and name == "infection")
                    iou = value + SHIFT[name] + more + 0.05 * (image - (count - 1) / 2) + 0.02 * (2 * seed - 1)
                    identity = {"split": split, "image": f"{split}{image}", "patient": f"p{image}", "class": name}
                    images.append({**cell, **identity, "dice": iou + 0.1, "iou": iou, "hd95": 0.1})
            curves += [{**cell, "iteration": n, "iou": 0.5 if n >= fast else 0.1} for n in (10, 20, 30, 40)]
            numbers = {"trainable_parameters": TRAINED[tuning], "total_parameters": 1000, "seconds": 9.5}
            results.append({"task": task, **cell, **numbers, "iterations_to_95": 10})
    folder.mkdir(parents=True)
    table = pd.DataFrame(images)
    keys = ["init", "tuning", "shots", "seed"]
    means = table.groupby([*keys, "class", "split"], as_index=False, sort=False)[["dice", "iou", "hd95"]].mean()
    means.merge(pd.DataFrame(results), on=keys)[COLUMNS].to_csv(folder / "results.csv", index=False)
    table.to_csv(folder / "images.csv", index=False)
    pd.DataFrame(curves).to_csv(folder / "curves.csv", index=False)
    common = {
        "task": task,
        "bundle": "lung_cxr_segmentation",
        "iterations": 40,
        "batch_size": 8,
        "image_size": [96, 64],
    }
    common |= {"images": {"training": 7, "validation": 2, "test": 3}, "values": {}}
    (folder / "settings.json").write_text(json.dumps({**common, **settings}))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [_write(tmp_path / task, task, CELLS) for task in CLASSES]


def _table(folders: list[Path], **names: str) -> pd.DataFrame:
    return Aims(read_tasks(folders), Names(**names), 5, resamples=300).table()


def test_differences_are_means_over_tasks_of_test_images(folders: list[Path]) -> None:
    table = _table(folders)
    assert list(table["row"]) == [1, 2, 3, 4, 5, 2, 3, 5]
    values = table["value"].tolist()
    # scale_shift is best on valid, but test is what counts; infection has 0.03 more, half of the weight
    assert values[0] == pytest.approx(0.40 - 0.50 + 0.015)
    assert values[1] == pytest.approx(0.55 - 0.52 + 0.015)
    assert values[2] == pytest.approx(0.55 - 0.57 + 0.015)
    assert values[3] == pytest.approx(0.65 - 0.55)
    assert values[5:7] == pytest.approx([0.40 - 0.52 + 0.015, 0.40 - 0.57 + 0.015])
    assert list(table["first"][:5]) == [
        "doll/scale_shift",
        "doll/full",
        "doll/full",
        "doll/adapter",
        "doll/scale_shift",
    ]
    assert list(table["mean_meets"][:5]) == [False, True, False, True, False]
    assert list(table["low_meets"][:4]) == [False, True, False, True]
    assert list(table["seeds"][:4]) == [2] * 4
    assert list(table["images"][:4]) == [6] * 4
    # every image of a task has the same difference: nothing to draw
    assert table["low"][:4].tolist() == pytest.approx(values[:4])
    assert table["high"][:4].tolist() == pytest.approx(values[:4])


def test_a_tuning_that_one_task_lacks_is_not_chosen(tmp_path: Path) -> None:
    fewer = {cell: scores for cell, scores in CELLS.items() if cell != ("doll", "scale_shift")}
    aims = Aims(
        read_tasks([_write(tmp_path / "a", "chest", CELLS), _write(tmp_path / "b", "covid", fewer)]), Names(), 5
    )
    assert aims.best == aims.adapter == "adapter"
    assert aims.valid.to_dict() == pytest.approx({t: CELLS["doll", t][0] - 0.125 + 0.015 for t in aims.valid.index})


def test_an_adapter_with_too_many_parameters_is_no_adapter(folders: list[Path]) -> None:
    aims = Aims(read_tasks(folders), Names(), 5)
    assert (aims.best, aims.adapter) == ("scale_shift", "adapter")


def test_missing_cells_are_named_and_nothing_is_made_up(tmp_path: Path) -> None:
    cells = {cell: scores for cell, scores in CELLS.items() if cell[0] in ("scratch", "doll")}
    table = _table([_write(tmp_path / "chest", "chest", cells)]).set_index("row")
    missing = table["missing"].groupby("row").first()
    assert missing[2] == "class infection"
    assert missing[3] == "chest: doll_backbone/full"
    assert missing[[1, 4, 5]].isna().all()
    assert table.loc[[2, 3], "value"].isna().all()
    nothing = _table([_write(tmp_path / "scratch", "chest", {("scratch", "full"): CELLS["scratch", "full"]})])
    assert nothing["missing"].notna().all()


def test_tasks_weigh_the_same_and_widen_the_interval_by_themselves() -> None:
    def table(values: np.ndarray) -> pd.DataFrame:
        rows = [(seed, f"p{image}", value) for (seed, image), value in np.ndenumerate(values)]
        return pd.DataFrame(rows, columns=["seed", "patient", "iou"])

    generator = np.random.default_rng(0)
    small, large = table(generator.normal(0.2, 0.1, (3, 10))), table(generator.normal(0.6, 0.1, (3, 40)))
    mean, low, high = tasks_interval([small, large], "iou", 4000)
    assert mean == pytest.approx((small["iou"].mean() + large["iou"].mean()) / 2)
    widths = [np.subtract(*crossed_interval(one, "iou", 4000)[:0:-1]) for one in (small, large)]
    assert high - low == pytest.approx(math.hypot(*widths) / 2, rel=0.1)
    assert tasks_interval([small], "iou") == crossed_interval(small, "iou")
    alone = tasks_interval([small, large[large["patient"] == "p0"]], "iou")
    assert np.isnan(alone[1:]).all()
    assert not math.isnan(alone[0])


def test_iterations_are_a_share_of_scratch() -> None:
    scratch = pd.DataFrame({"iteration": [10, 20, 30, 40], "iou": [0.1, 0.55, 0.4, 0.5]})
    curve = pd.DataFrame({"iteration": [10, 20, 30, 40], "iou": [0.5, 0.4, 0.4, 0.4]})
    assert share_of_iterations(curve, scratch) == 10 / 40
    assert share_of_iterations(curve, scratch, own=True) == 10 / 20
    assert share_of_iterations(curve.assign(iou=0.2), scratch) == math.inf


def test_trainings_that_never_get_there_count_in_the_median(tmp_path: Path) -> None:
    cells = {("scratch", "full"): (0.5, 0.5, 40), ("doll", "full"): (0.6, 0.6, 10)}
    slow = {**cells, ("doll", "full"): (0.6, 0.6, 50)}
    one, both = _write(tmp_path / "a", "chest", cells), [tmp_path / "a", _write(tmp_path / "b", "covid", slow)]
    speed = _table([one]).query("row == 5")
    assert speed["value"].tolist() == [0.25, 0.25]
    assert speed["reached"].tolist() == ["2 of 2"] * 2
    assert speed["mean_meets"].all()
    never = _table(both).query("row == 5")
    assert never["value"].tolist() == [math.inf] * 2
    assert never["reached"].tolist() == ["2 of 4"] * 2
    assert not never["mean_meets"].any()


def test_program_writes_the_tables_and_the_page(folders: list[Path], tmp_path: Path) -> None:
    program = runpy.run_path(str(PROGRAM))["summarize_comparisons"]
    program(",".join(map(str, folders)), str(tmp_path / "docs"), images="synthetic images")
    table = pd.read_csv(tmp_path / "docs" / "few_shot.csv")
    assert list(table.columns) == COLUMNS
    assert len(table) == sum(len(pd.read_csv(folder / "results.csv")) for folder in folders)
    page = (tmp_path / "docs" / "few_shot.md").read_text()
    assert "Synthetic images, research use only." in page
    assert "images: 7 training, 2 validation, 3 test, 4 from elsewhere; 2 seeds, 40 iterations" in page
    assert "96 x 64 px" in page
    assert str(tmp_path) not in page
    assert "--comparisons chest,covid --output docs --shots 5 --images 'synthetic images'" in page
    assert "chosen by the mean IoU on valid images over the tasks: `scale_shift`" in page
    assert "nan" not in page
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    (first,) = (row for row in rows if row[0] == "1")
    assert first[2:] == [
        "doll/scale_shift - scratch/full",
        "at least +0.10, interval above 0",
        "-0.085 [-0.085, -0.085]",
        *("no", "no", "chest,covid; 2"),
    ]
    adapter = [row for row in rows if row[:2] == ["doll", "adapter"]]
    assert [row[-1] for row in adapter] == ["2.00%", "2.00%"]
    assert [row[3].partition(" ")[0] for row in adapter] == ["0.750", "0.430"]
    assert [row[4].partition(" ")[0] for row in adapter] == ["0.700", "0.380"]
    assert len(adapter[0]) == len(adapter[1]) + 1


def test_other_shots_stay_in_the_table_and_out_of_the_aims(tmp_path: Path) -> None:
    program = runpy.run_path(str(PROGRAM))["summarize_comparisons"]
    folder = _write(tmp_path / "chest", "chest", CELLS, shots=10)
    with pytest.raises(InputError, match=re.escape("No comparison has 5 shots; there are: 10.")):
        program(str(folder), str(tmp_path / "docs"))
    program(str(folder), str(tmp_path / "docs"), shots=10)
    assert set(pd.read_csv(tmp_path / "docs" / "aims.csv")["shots"]) == {10}


def test_another_pretrained_network_is_summarized_by_its_name(tmp_path: Path) -> None:
    cells = {(init.replace("doll", "better"), tuning): scores for (init, tuning), scores in CELLS.items()}
    folder = _write(tmp_path / "chest", "chest", cells)
    table = _table([folder], doll="better", doll_backbone="better_backbone")
    assert table["first"][0] == "better/scale_shift"
    assert table["value"][2] == pytest.approx(0.55 - 0.57)


def test_careless_use_is_explained(folders: list[Path], tmp_path: Path) -> None:
    program = runpy.run_path(str(PROGRAM))["summarize_comparisons"]
    output, both = str(tmp_path / "docs"), ",".join(map(str, folders))
    with pytest.raises(InputError, match="--doll: no comparison has the initialization 'dol'; there are: scratch,"):
        program(both, output, doll="dol")
    with pytest.raises(InputError, match=r"results\.csv cannot be read; give folders that compare_initializations"):
        program(str(tmp_path), output)
    with pytest.raises(InputError, match="Two comparisons are of the task 'chest'"):
        program(f"{folders[0]},{folders[0]}", output)
    with pytest.raises(InputError, match="shots must be one number of images"):
        program(both, output, shots=(5, 10))
    assert not (tmp_path / "docs").exists()
