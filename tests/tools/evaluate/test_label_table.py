"""The table of ways to make labels: means over pairs, intervals over patients, paired differences to the prior."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from doll_monai.utils.errors import InputError
from doll_tools.evaluate.label_table import COLUMNS, write_label_table


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """Forty patients with a pair each: the labels are by 0.1 better than the prior at every share."""
    generator = np.random.default_rng(0)
    rows = []
    for patient in range(40):
        image = f"train/patient{patient:05d}/study1/view1_frontal.jpg"
        for share in (0.05, 0.1, 0.15):
            prior = generator.uniform(0.1, 0.3)
            for source, iou in (("consensus", prior + 0.1), ("location_prior", prior), ("gradcam", 0.05)):
                rows.append((image, "Edema", source, share, iou, int(source == "consensus" and patient % 2), 0.1))
    path = tmp_path / "localization.csv"
    columns = ["image", "observation", "source", "share", "iou", "hit", "truth_share"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


def test_a_row_has_means_intervals_and_the_paired_difference(scored: Path, tmp_path: Path) -> None:
    output = tmp_path / "labels.csv"
    for data in ("first", "second", "second"):
        write_label_table(data, f"doll={scored},gradcam={scored}:gradcam", str(output))
    table = pd.read_csv(output)
    assert list(table) == list(COLUMNS)
    assert list(table["data"]) == ["first", "first", "second", "second"], (
        "rows of other data are kept, its own replaced"
    )
    source = pd.read_csv(scored)
    means = source[source["source"] == "consensus"].groupby("share")["iou"].mean()
    doll, gradcam = (row for _, row in table[table["data"] == "first"].iterrows())
    assert [doll["iou05"], doll["iou10"], doll["iou15"]] == pytest.approx(list(means), abs=1e-4)
    assert doll["hit"] == 0.5
    assert doll["low"] < doll["iou10"] < doll["high"]
    assert [doll[name] for name in COLUMNS[-3:]] == pytest.approx([0.1, 0.1, 0.1], abs=1e-4)
    assert gradcam["minus_prior_high"] < 0


def test_what_is_missing_is_named(scored: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no source member_9"):
        write_label_table("data", f"doll={scored}:member_9", str(tmp_path / "labels.csv"))
    with pytest.raises(InputError, match=r"nowhere\.csv does not exist"):
        write_label_table("data", "doll=nowhere.csv", str(tmp_path / "labels.csv"))
