"""Joined tables, decisions and the summary against hand-worked cases."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from doll_monai.data.ground_truth import GroundTruth
from doll_monai.handlers.localization import COLUMNS
from doll_monai.utils.errors import InputError
from doll_tools.evaluate.decision import decide
from doll_tools.evaluate.page import page, signed
from doll_tools.evaluate.scores import ALL, read_pairs, score_table
from doll_tools.evaluate.summary import localization_summary

IOU = {"consensus": 0.5, "member_0": 0.4, "gradcam": 0.3, "randomized": 0.2, "chance": 0.1, "location_prior": 0.25}
PATIENTS = 12


def _write_run(folder: Path, iou: dict[str, float] = IOU, **agreement: float) -> dict[str, list[dict]]:
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
        found = {"agreement_rank": 0.8, "randomized_rank": 0.2}
        found |= {"unrelated_rank": 0.0, "randomized_iou": 0.1, "unrelated_iou": 0.05}
        own = {"image": image, "observation": "Edema", "label_share": 0.1, "completeness_0": number / 100}
        likeness.append({**own, **found, **agreement})
    pd.DataFrame(rows).to_csv(folder / "localization.csv", index=False)
    pd.DataFrame(likeness).to_csv(folder / "agreement.csv", index=False)
    return sections


def _pairs(folder: Path, iou: dict[str, float] = IOU, **agreement: float) -> pd.DataFrame:
    return read_pairs(folder, _write_run(folder, iou, **agreement), GroundTruth(None, folder))


def test_scores_are_those_at_the_labels_own_share_and_sections_are_never_pooled(tmp_path: Path) -> None:
    table = score_table(_pairs(tmp_path), list(IOU)).set_index(["section", "observation", "source"])
    assert table.loc[("training", ALL, "consensus"), "pairs"] == 40
    assert set(table.index.get_level_values("section")) == {"training", "test"}
    test = table.loc["test"].loc[ALL]
    assert test.loc["consensus", "pairs"] == PATIENTS
    assert test.loc["consensus", "iou"] == pytest.approx(0.5, abs=0.01)
    assert test.loc["consensus", "iou_low"] < test.loc["consensus", "iou"] < test.loc["consensus", "iou_high"]
    differences = test.loc[["gradcam", "location_prior", "consensus"], ["difference", "difference_low"]]
    assert differences.to_numpy().tolist() == [pytest.approx([value] * 2) for value in (0.2, 0.25, 0)]
    assert test.loc["consensus", "completeness_median"] == pytest.approx(0.455)
    assert test.loc["member_0", "completeness_p95"] == pytest.approx(0.5045)
    assert math.isnan(test.loc["gradcam", "completeness_median"])
    assert test.loc["consensus", "agreement_rank"] == pytest.approx(0.8)


def test_images_of_one_patient_are_drawn_together_also_under_nihs_names(tmp_path: Path) -> None:
    _write_run(tmp_path)
    for name in ("localization", "agreement"):
        table = pd.read_csv(tmp_path / f"{name}.csv")
        numbers = table["image"].str.extract(r"patient(\d+)")[0].astype(int)
        table["image"] = [f"images/{number // 2:08d}_{number % 2:03d}.png" for number in numbers]
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    images = sorted(set(table["image"]))
    sections = {"training": [], "test": [{"image": str(tmp_path / image)} for image in images]}
    assert read_pairs(tmp_path, sections, GroundTruth(None, tmp_path))["patient"].nunique() == len(images) / 2


def test_an_image_in_two_sections_is_refused(tmp_path: Path) -> None:
    sections = _write_run(tmp_path)
    sections["test"].append(sections["training"][0])
    with pytest.raises(InputError, match="stands in 'training' and in 'test'"):
        read_pairs(tmp_path, sections, GroundTruth(None, tmp_path))


def test_good_labels_pass(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path)
    decision = decide(pairs, "test")
    assert decision.passed
    assert {name: over[0] for name, over in decision.over.items()} == pytest.approx(
        {"chance": 0.4, "location_prior": 0.25, "randomized": 0.3}
    )
    assert decision.image_alone == pytest.approx(0.25)
    text = page(score_table(pairs, list(IOU)), [decide(pairs, "training"), decision])
    assert text.endswith("**By test images, the labels pass the label quality check.**\n")
    assert "images that the classifiers have not seen" in text
    assert "| location_prior | 0.100 | 0.25" in text
    assert "- 25% of what maps of two members have in common" in text
    assert "nan" not in text


@pytest.mark.parametrize(
    ("iou", "agreement", "reasons"),
    [
        ({"chance": 0.5}, {}, ["chance"]),
        ({"location_prior": 0.6}, {}, ["location prior"]),
        ({"randomized": 0.5}, {}, ["labels of randomized networks"]),
        ({}, {"agreement_rank": 0.2}, ["agree more with each other"]),
        ({}, {"randomized_iou": 0.6}, ["overlap the real ones by 0.5 or more"]),
        ({"chance": 0.5}, {"randomized_iou": 0.6}, ["chance", "overlap the real ones"]),
        ({}, {"agreement_rank": math.nan}, []),
    ],
)
def test_each_fault_is_named(tmp_path: Path, iou: dict, agreement: dict, reasons: list[str]) -> None:
    """A lone member, who has no agreement, is not asked for it."""
    decision = decide(_pairs(tmp_path, {**IOU, **iou}, **agreement), "test")
    assert decision.passed == (not reasons)
    assert len(decision.failures) == len(reasons)
    assert all(reason in failure for reason, failure in zip(reasons, decision.failures, strict=True))


def test_a_floor_without_rows_and_a_lone_patient_decide_nothing(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path)
    without = decide(pairs[pairs["source"] != "location_prior"], "test")
    assert not without.passed
    assert signed(without.over["location_prior"]) == "no pair has both"
    alone = decide(pairs.query("patient == 'patient00045' or section != 'test'"), "test")
    assert not alone.passed
    assert signed(alone.over["chance"]) == "+0.400, too few patients for an interval"


def test_chance_takes_the_consensus_share_and_the_prior_its_own(tmp_path: Path) -> None:
    """On validation images the consensus is best at 0.2 and the prior at 0.1."""
    _write_run(tmp_path)
    table = pd.read_csv(tmp_path / "localization.csv")
    prior, large = table["source"] == "location_prior", table["share"] == 0.2
    table.loc[prior & large, "iou"] = 0.0
    table.loc[(table["source"] == "chance") & large, "iou"] = 0.05
    figures = localization_summary(table, table)
    assert figures["threshold"] == "validation"
    assert figures["iou_consensus"] == pytest.approx(0.6, abs=0.01)
    assert figures["iou_chance"] == pytest.approx(0.05)
    assert figures["iou_location_prior"] == pytest.approx(0.25, abs=0.01)
    assert localization_summary(table, None)["iou_chance"] == pytest.approx(0.1, abs=0.01)
