"""Table, plot and page of results whose gain is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from doll_tools.compare.summary import differences, with_class_means
from doll_tools.pretraining_gain.gain import PretrainedPoint, gain_table, overall
from doll_tools.pretraining_gain.page import DRAWN, page
from doll_tools.pretraining_gain.plot import draw_gain

GAINS = {"iou100_films50": 0.2, "none_films50": -0.1, "dolls_films50": 0.0}
POINTS = [
    PretrainedPoint("iou100_films50", "iou100", "1", 1.0, 50),
    PretrainedPoint("none_films50", "none", "none", 0.03, 50),
    PretrainedPoint("dolls_films50", "dolls", "", 0.21, 50),
]
LAST = 40


@pytest.fixture
def results() -> Any:
    """Two seeds, eight test films, two classes; what each start gains on average is ``GAINS``, twice that on hearts."""
    generator = np.random.default_rng(0)
    films, curves, cells = [], [], []
    base = generator.uniform(0.4, 0.6, (2, 8, 2))
    for init, gain in {"scratch": 0.0, **GAINS}.items():
        for seed in range(2):
            cell = {"init": init, "tuning": "full", "shots": 5, "seed": seed}
            cells.append({**cell, "seconds": 1.0, "trainable_parameters": 1, "total_parameters": 1})
            cells[-1]["iterations_to_95"] = 20.0
            for iteration in (20, LAST):
                curves.append({**cell, "iteration": iteration, "iou": 0.5 * iteration / LAST + gain, "dice": 0.5})
            for film in range(8):
                for number, name in enumerate(("lungs", "heart")):
                    iou = base[seed, film, number] + gain * 2 * number
                    row = {**cell, "split": "test", "film": f"f{film}", "patient": f"p{film}", "class": name}
                    films += [{**row, "iou": iou, "dice": iou, "hd95": 0.1}]
                    films += [{**row, "split": "valid", "iou": 0.0, "dice": 0.0, "hd95": 0.1}]
    return SimpleNamespace(films=pd.DataFrame(films), curves=pd.DataFrame(curves), cells=pd.DataFrame(cells))


def test_the_table_has_the_gains(results: Any) -> None:
    table = gain_table(results, POINTS, LAST, resamples=100)
    rows = overall(table).set_index("init")
    assert rows["gain"].to_dict() == pytest.approx(GAINS)
    assert rows["gain_low"].to_dict() == pytest.approx(GAINS), "every film gains the same, so no interval is left"
    hearts = table[table["class"] == "heart"].set_index("init")["gain"]
    assert hearts.to_dict() == pytest.approx({init: 2 * gain for init, gain in GAINS.items()})
    assert (rows["iou"] - rows["scratch_iou"]).to_dict() == pytest.approx(GAINS)
    assert rows["iterations_to_scratch"].to_dict() == pytest.approx(
        {"iou100_films50": LAST, "none_films50": float("nan"), "dolls_films50": LAST}, nan_ok=True
    )
    assert rows["test_films"].unique().tolist() == [8]


def test_the_intervals_are_those_of_the_comparison(results: Any) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, len(results.films))
    results.films["iou"] += np.where(results.films["init"] == "scratch", 0, noise)
    rows = overall(gain_table(results, POINTS, LAST, resamples=100)).set_index("init")
    pairs = differences(with_class_means(results.films), resamples=100)
    pairs = pairs[(pairs["split"] == "test") & (pairs["class"] == "all") & (pairs["chosen"] == "")]
    for init in GAINS:
        pair = pairs[(pairs["first"] == f"{init}/full") & (pairs["second"] == "scratch/full")].iloc[0]
        assert list(rows.loc[init, ["gain", "gain_low", "gain_high"]]) == pytest.approx(
            list(pair[["iou", "iou_low", "iou_high"]])
        )
        assert rows.loc[init, "gain_low"] < rows.loc[init, "gain"] < rows.loc[init, "gain_high"]


def test_the_page_says_what_was_measured_on_which_films(results: Any) -> None:
    table = gain_table(results, POINTS, LAST, resamples=100)
    settings = {"image_size": 96, "pretraining_iterations": 300, "pretraining_batch_size": 16}
    text = page(table, settings, "python scripts/measure_pretraining_gain.py --output out", "2024-05-06")
    assert DRAWN in text
    assert "    python scripts/measure_pretraining_gain.py --output out" in text
    assert "2024-05-06" in text
    (right,) = (line for line in text.splitlines() if line.startswith("| iou100"))
    cells = [cell.strip() for cell in right.strip("|").split("|")]
    assert cells[:4] == ["iou100", "1", "1.00", "50"]
    assert cells[5] == "**+0.200 [+0.200, +0.200]**"
    assert cells[6:] == ["+0.000", "+0.400", "40 of 40 (100%)"]
    (wrong,) = (line for line in text.splitlines() if line.startswith("| none"))
    assert "never" in wrong
    assert "nan" not in text


def test_the_plot_has_a_line_a_number_of_films_and_the_same_bytes(results: Any) -> None:
    table = gain_table(results, POINTS, LAST, resamples=100)
    drawings = draw_gain(table)
    assert drawings["svg"] == draw_gain(table)["svg"]
    assert drawings["png"].startswith(b"\x89PNG")
    more = pd.concat([table, table.assign(films=200)])
    assert len(draw_gain(more)["svg"]) > len(drawings["svg"]) + 1000
