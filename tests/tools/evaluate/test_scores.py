"""Joined tables and verdicts against hand-worked cases."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.handlers.localization import COLUMNS
from doll_monai.utils.errors import InputError
from doll_tools.evaluate.page import page
from doll_tools.evaluate.pairs import ALL, read_pairs
from doll_tools.evaluate.scores import score_table
from doll_tools.evaluate.verdict import judge

SOURCES = ("consensus", "member_0", "gradcam", "randomized", "chance")
IOU = {"consensus": 0.5, "member_0": 0.4, "gradcam": 0.3, "randomized": 0.2, "chance": 0.1}
PATIENTS = 12


def _write_run(folder: Path, iou: dict[str, float], **agreement: float) -> dict[str, list[dict]]:
    """A run over 40 training pairs and 12 test pairs, one a patient; at the share 0.2 IoU is 0.1 more."""
    rows, likeness = [], []
    sections: dict[str, list[dict]] = {"training": [], "test": []}
    generator = np.random.default_rng(0)
    for number in range(40 + PATIENTS):
        image = f"{'train' if number < 40 else 'valid'}/patient{number:05d}/study1/view1_frontal.png"
        sections["training" if number < 40 else "test"].append({"image": str(folder / image)})
        noise = generator.normal(0, 0.01)
        for source, value in iou.items():
            for share in (0.1, 0.2):
                score = value + noise + share - 0.1
                values = (image, "Edema", source, share, score, int(source == "consensus"), 0.1)
                rows.append(dict(zip(COLUMNS, values, strict=True)))
        found = {"agreement_rank": 0.8, "agreement_ssim": 0.7, "randomized_rank": 0.2, "randomized_ssim": 0.3}
        found |= {"unrelated_rank": 0.0, "unrelated_ssim": 0.1, "randomized_iou": 0.1, "unrelated_iou": 0.05}
        own = {"image": image, "observation": "Edema", "label_share": 0.1, "completeness_0": number / 100}
        likeness.append({**own, **found, **agreement})
    table = pd.DataFrame(rows)
    table[table["source"] != "chance"].to_csv(folder / "localization.csv", index=False)
    table[table["source"] == "chance"].to_csv(folder / "chance.csv", index=False)
    pd.DataFrame(likeness).to_csv(folder / "agreement.csv", index=False)
    return sections


def _pairs(folder: Path, choose_on: str | None = None, iou: dict[str, float] = IOU, **agreement: float) -> pd.DataFrame:
    sections = _write_run(folder, iou, **agreement)
    return read_pairs(folder, sections, GroundTruth(None, folder), choose_on)


def test_sections_are_never_pooled(tmp_path: Path) -> None:
    table = score_table(_pairs(tmp_path), SOURCES).set_index(["section", "observation", "source"])
    assert table.loc[("training", ALL, "consensus"), "pairs"] == 40
    assert table.loc[("test", ALL, "consensus"), "pairs"] == PATIENTS
    assert ALL not in table.index.get_level_values("section")


def test_scores_are_those_at_the_labels_own_share(tmp_path: Path) -> None:
    row = score_table(_pairs(tmp_path), SOURCES).set_index(["section", "observation", "source"])
    test = row.loc["test"].loc[ALL]
    assert test.loc["consensus", "iou"] == pytest.approx(0.5, abs=0.01)
    assert test.loc["consensus", "iou_low"] < test.loc["consensus", "iou"] < test.loc["consensus", "iou_high"]
    assert test.loc["gradcam", "difference"] == pytest.approx(0.2)
    assert test.loc["gradcam", "difference_low"] == pytest.approx(0.2)
    assert test.loc["consensus", "difference"] == 0
    assert test.loc["consensus", "completeness_median"] == pytest.approx(0.455)
    assert test.loc["member_0", "completeness_p95"] == pytest.approx(0.5045)
    assert math.isnan(test.loc["gradcam", "completeness_median"])
    assert test.loc["consensus", "agreement_rank"] == pytest.approx(0.8)
    assert math.isnan(test.loc["consensus", "iou_chosen_share"])


def test_chosen_shares_come_from_the_other_section_alone(tmp_path: Path) -> None:
    table = score_table(_pairs(tmp_path, "training"), SOURCES).set_index(["section", "observation", "source"])
    assert table.loc[("test", ALL, "gradcam"), "chosen_share"] == pytest.approx(0.2)
    assert table.loc[("test", ALL, "gradcam"), "iou_chosen_share"] == pytest.approx(0.4, abs=0.01)
    assert math.isnan(table.loc[("training", ALL, "gradcam"), "iou_chosen_share"])


def test_nothing_is_chosen_on_too_few_pairs(tmp_path: Path) -> None:
    assert _pairs(tmp_path, "test")["chosen_share"].isna().all()


def test_a_image_in_two_sections_is_refused(tmp_path: Path) -> None:
    sections = _write_run(tmp_path, IOU)
    sections["test"].append(sections["training"][0])
    with pytest.raises(InputError, match="stands in 'training' and in 'test'"):
        read_pairs(tmp_path, sections, GroundTruth(None, tmp_path))


def test_good_labels_pass(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path)
    verdict = judge(pairs, "test")
    assert verdict.passed
    assert verdict.over_chance[0] == pytest.approx(0.4)
    assert verdict.image_alone == pytest.approx(0.25)
    text = page(score_table(pairs, SOURCES), [judge(pairs, "training"), verdict], [])
    assert text.rstrip().endswith("**By test images, the labels pass the gate.**")
    assert "images that the classifiers have not seen" in text
    assert "nan" not in text
    json.dumps(verdict.figures())


@pytest.mark.parametrize(
    ("iou", "agreement", "reason"),
    [
        ({**IOU, "chance": 0.5}, {}, None),
        (IOU, {"randomized_rank": 0.8}, "members are not shown to agree more"),
        (IOU, {"randomized_iou": 0.6}, "may overlap the real ones by 0.5 or more"),
        ({**IOU, "randomized": 0.5}, {}, "not shown to find the places better"),
    ],
)
def test_each_fault_closes_the_gate(tmp_path: Path, iou: dict, agreement: dict, reason: str | None) -> None:
    verdict = judge(_pairs(tmp_path, None, iou, **agreement), "test")
    assert not verdict.passed
    assert verdict.beats_chance == (reason is not None)
    assert [reason in failure for failure in verdict.failures] == ([True] if reason else [])


def test_a_lone_member_is_not_asked_for_agreement(tmp_path: Path) -> None:
    assert judge(_pairs(tmp_path, agreement_rank=math.nan), "test").passed


def test_a_single_patient_shows_nothing(tmp_path: Path) -> None:
    verdict = judge(_pairs(tmp_path).query("patient == 'patient00045' or section != 'test'"), "test")
    assert not verdict.beats_chance
    assert "too few patients for an interval" in verdict.sentences()[0]
