"""The folder of labels: the same bytes whether undisturbed, resumed or shared by several processes."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import EnsembleEvaluator
from monai.networks.nets import DenseNet
from monai.transforms import Compose, MeanEnsembled
from PIL import Image
from torch import nn

from doll_monai.data.datalist import load_datalist
from doll_monai.data.label_store import COLUMNS, LabelStore, read_chunk
from doll_monai.findings import FINDINGS, FOREGROUND, IGNORE
from doll_monai.handlers.integrated_gradients import IntegratedGradientsHandler
from doll_monai.handlers.label_writer import LabelWriter
from doll_monai.transforms.attribution import (
    AttributionMagnituded,
    AttributionToLabeld,
    MultiplyByInputd,
    NormalizeAttributiond,
)
from doll_monai.transforms.observations import ObservationTargetsd
from doll_monai.transforms.reading import LoadLabeld, LoadRadiographd
from doll_monai.utils.errors import InputError

IMAGES, CHUNK = 7, 3


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for number in range(IMAGES):
        path = folder / f"patient{number:05d}" / "study 1, again" / "view1_frontal.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(generator.integers(0, 256, (24, 32), dtype=np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def networks() -> list[nn.Module]:
    torch.manual_seed(1)
    return [DenseNet(2, 1, 14, init_features=4, growth_rate=4, block_config=(1, 1)) for _ in range(2)]


@pytest.fixture
def sections(images: Path) -> dict[str, list[dict[str, Any]]]:
    """Seven images in two sections; the fifth has no positive observation."""
    records = []
    for number, image in enumerate(sorted(images.rglob("*.png"))):
        label: list[float | None] = [0.0] * 14
        if number != 4:
            label[number], label[number + 5], label[13] = 1.0, -1.0, 1.0
        records.append({"image": str(image), "label": label})
    return {"training": records[:4], "validation": records[4:]}


def _store(output: Path, images: Path, sections, **changed: Any) -> LabelStore:
    arguments = {"chunk_size": CHUNK, "provenance": {"ig_steps": 2, "checkpoint_sha256": "abc"}, **changed}
    return LabelStore(output, images, sections, **arguments)


def _run(store: LabelStore, networks: list[nn.Module], stop_after: int | None = None) -> None:
    """Label what is pending, as the bundle does; stop (as if killed) in the given batch before its rows are written."""
    keys = [f"attribution_{number}" for number in range(len(networks))]
    load = Compose([LoadRadiographd("image"), ObservationTargetsd("label")])
    explain = Compose(
        [
            MultiplyByInputd(keys),
            AttributionMagnituded(keys),
            NormalizeAttributiond(keys),
            MeanEnsembled(keys, output_key="pred"),
            AttributionToLabeld("pred"),
        ]
    )

    class Power:
        def attach(self, engine: Engine) -> None:
            engine.add_event_handler(Events.ITERATION_STARTED, self)

        def __call__(self, engine: Engine) -> None:
            if stop_after is not None and engine.state.iteration > stop_after:
                raise KeyboardInterrupt

    pending = store.pending()
    if not pending:
        return
    evaluator = EnsembleEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(pending, load), batch_size=CHUNK),
        networks=networks,
        pred_keys=[f"pred_{number}" for number in range(len(networks))],
        postprocessing=explain,
        val_handlers=[
            Power(),
            IntegratedGradientsHandler(networks, n_steps=2),
            LabelWriter(store, members=len(networks)),
        ],
    )
    try:
        evaluator.run()
    finally:
        store.wait()
    store.finish()


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def reference(images: Path, networks, sections, tmp_path: Path) -> dict[str, str]:
    """What an undisturbed run writes."""
    _run(_store(tmp_path / "reference", images, sections), networks)
    return _digests(tmp_path / "reference")


def test_every_image_has_a_label_where_its_folder_is_mirrored(reference, images, sections, tmp_path: Path) -> None:
    output = tmp_path / "reference"
    expected = {f"labels/{path.relative_to(images).with_suffix('.nii.gz')}" for path in images.rglob("*.png")}
    assert {name for name in reference if name.startswith("labels/")} == expected
    assert {"dataset.json", "labels.csv", "provenance.json"} < set(reference)
    assert not [name for name in reference if "tmp" in Path(name).name]
    for section, records in sections.items():
        loaded = load_datalist(output / "dataset.json", section, images, output)
        assert [record["image"] for record in loaded] == [record["image"] for record in records]
        for record, raw in zip(loaded, records, strict=True):
            label = LoadLabeld("label", channels=14)(record)["label"]
            assert label.shape == (14, 32, 24)
            for channel, value in enumerate(raw["label"]):
                values = set(label[channel].unique().tolist())
                assert values == ({IGNORE} if value == -1 or channel == 0 else {0} if value == 0 else {0, 1, IGNORE})


def test_table_has_a_row_for_each_positive_observation(reference, images, networks, sections, tmp_path: Path) -> None:
    table = pd.read_csv(tmp_path / "reference" / "labels.csv")
    wanted = [
        (Path(record["image"]).relative_to(images).as_posix(), FINDINGS[channel])
        for record in (*sections["training"], *sections["validation"])
        for channel, value in enumerate(record["label"])
        if value == 1
    ]
    assert list(zip(table["image"], table["observation"], strict=True)) == wanted
    row = table[table["observation"] == FINDINGS[1]].iloc[0]
    image = LoadRadiographd("image")({"image": str(images / row["image"])})["image"].as_tensor()[None]
    with torch.no_grad():
        logit = torch.stack([network.eval()(image)[0, 1] for network in networks]).mean()
    assert row["probability"] == pytest.approx(float(torch.sigmoid(logit)), abs=1e-4)
    label = LoadLabeld()({"label": str(tmp_path / "reference" / "labels" / row["image"].replace(".png", ".nii.gz"))})[
        "label"
    ]
    share = float((label[1] == FOREGROUND).float().mean())
    assert row["foreground_share"] == pytest.approx(share, abs=1e-4)
    unlocalized = table["observation"] == "No Finding"
    assert (table["n_steps"] == (~unlocalized) * 2).all()
    assert table.loc[unlocalized, "completeness_error"].isna().all()
    assert table.loc[~unlocalized, "completeness_error"].notna().all()


@pytest.mark.parametrize("stop_after", [0, 2])
def test_a_resumed_run_gives_the_same_bytes(reference, images, networks, sections, stop_after, tmp_path: Path) -> None:
    output = tmp_path / "resumed"
    with pytest.raises(KeyboardInterrupt):
        _run(_store(output, images, sections), networks, stop_after=stop_after)
    assert not (output / "labels.csv").exists()
    assert not (output / "dataset.json").exists()
    _run(_store(output, images, sections), networks)
    assert _digests(output) == reference


def test_what_is_missing_is_made_again(reference, images, networks, sections, tmp_path: Path) -> None:
    output = tmp_path / "reference"
    sorted((output / "rows").iterdir())[1].unlink()
    assert [record["chunk"] for record in _store(output, images, sections).pending()] == [1] * CHUNK
    min((output / "labels").rglob("*.nii.gz")).unlink()
    _run(_store(output, images, sections), networks)
    assert _digests(output) == reference
    assert _store(output, images, sections).pending() == []


@pytest.mark.parametrize("world_size", [2, 5])
def test_several_processes_write_the_same_bytes(reference, images, networks, sections, world_size, tmp_path) -> None:
    output = tmp_path / "sharded"
    for rank in reversed(range(world_size)):
        _run(_store(output, images, sections, rank=rank, world_size=world_size), networks)
    assert _digests(output) == reference


def test_shards_are_disjoint_and_complete(images, sections, tmp_path: Path) -> None:
    parts = [_store(tmp_path, images, sections, rank=rank, world_size=2).pending() for rank in range(2)]
    found = [record["image"] for part in parts for record in part]
    assert sorted(found) == sorted(record["image"] for records in sections.values() for record in records)
    assert [{record["chunk"] for record in part} for part in parts] == [{0, 2}, {1}]


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"provenance": {"ig_steps": 3, "checkpoint_sha256": "abc"}}, "ig_steps"),
        ({"provenance": {"ig_steps": 2}}, "checkpoint_sha256"),
        ({"chunk_size": 2}, "chunk_size"),
        ({"sections": {"training": []}}, ".*"),  # chunks are numbered: those of another list are not taken for done
    ],
)
def test_labels_that_were_made_otherwise_are_refused(images, sections, changed, name, tmp_path) -> None:
    _store(tmp_path, images, sections).claim()
    before = _digests(tmp_path)
    with pytest.raises(InputError, match=f"were made with another {name}; give a new output_dir"):
        _store(tmp_path, images, **{"sections": sections, **changed}).claim()
    assert _digests(tmp_path) == before


def test_two_images_with_one_label_file_are_refused(images, tmp_path: Path) -> None:
    records = [{"image": str(images / name), "label": [0.0] * 14} for name in ("image.png", "image.jpg")]
    with pytest.raises(InputError, match=r"image\.nii\.gz"):
        LabelStore(tmp_path, images, {"training": records}, chunk_size=2, provenance={}).claim()


def test_of_two_runs_with_other_settings_that_start_at_once_one_is_refused(images, sections, tmp_path: Path) -> None:
    stores = [_store(tmp_path / "labels", images, sections, provenance={"ig_steps": steps}) for steps in range(8)]

    def claim(store: LabelStore) -> bool:
        try:
            store.claim()
        except InputError:
            return False
        return True

    with ThreadPoolExecutor(len(stores)) as pool:
        claimed = list(pool.map(claim, stores))
    assert claimed.count(True) == 1
    there = json.loads((tmp_path / "labels" / "provenance.json").read_text())
    assert there["ig_steps"] == claimed.index(True)


def test_a_broken_provenance_is_not_taken_for_ours(images, sections, tmp_path: Path) -> None:
    (tmp_path / "provenance.json").write_text("{")
    with pytest.raises(InputError, match=r"provenance\.json cannot be read.*give a new output_dir"):
        _store(tmp_path, images, sections).claim()


def test_a_folder_that_vanished_is_not_made_anew(images, sections, tmp_path: Path) -> None:
    store = _store(tmp_path / "labels", images, sections)
    store.claim()
    shutil.rmtree(tmp_path / "labels")
    store.write(0, {}, [], {})
    with pytest.raises(InputError, match=r"labels.* has vanished while labels were written; when .* is back"):
        store.wait()
    assert not (tmp_path / "labels").exists()


def test_what_killed_processes_left_over_is_deleted(images, sections, tmp_path: Path) -> None:
    """Only where this process has work to do, and nothing of a process that is alive."""
    store = _store(tmp_path, images, sections)
    label = tmp_path / store.label_path(sections["training"][0]["image"])
    label.parent.mkdir(parents=True)
    (tmp_path / "rows").mkdir()
    dead, alive = (f"{pid}-1@{platform.node()}.tmp" for pid in (2**22 + 1, os.getppid()))
    stale = [label.parent / f".{label.name}.{dead}", tmp_path / "rows" / f".000000.csv.{dead}"]
    kept = tmp_path / "rows" / f".000001.csv.{alive}"
    for path in (*stale, kept):
        path.touch()
    store.claim()
    assert [path.exists() for path in (*stale, kept)] == [False, False, True]


def _written(tmp_path: Path, images: Path, sections, members: int, **output: Any) -> dict[str, str]:
    """The one row of an image with Cardiomegaly, for what K members say."""
    store = _store(tmp_path, images, sections)
    store.claim()
    image = MetaTensor(torch.zeros(1, 4, 4), meta={"filename_or_obj": sections["training"][0]["image"]})
    engine = Engine(lambda *_: None)
    engine.state.batch = [{"chunk": 0, "error": ""}]
    label = {"label": torch.eye(14)[2], "pred": torch.zeros(14, 4, 4, dtype=torch.uint8)}
    logits = {f"pred_{member}": torch.zeros(14) for member in range(members)}
    maps = {f"attribution_{member}": torch.zeros(14, 4, 4) for member in range(members)}
    engine.state.output = [{"image": image, **label, **logits, **maps, **output}]  # type: ignore[assignment]
    LabelWriter(store, members)(engine)
    store.wait()
    ((row,), failures) = read_chunk(tmp_path / "rows" / "000000.csv")
    assert failures == {}
    return dict(zip(COLUMNS, row, strict=True))


@pytest.mark.parametrize(
    ("steps", "errors", "expected"),
    [
        ([torch.arange(14), torch.arange(14) * 3], [0.1, 0.2], ("6", "0.15")),
        ([torch.tensor(24)], [0.5], ("24", "0.5")),
        ([], [], ("", "")),
    ],
    ids=["the most and the mean", "one number for all observations", "unknown"],
)
def test_steps_and_errors_of_the_members(steps, errors, expected, images, sections, tmp_path: Path) -> None:
    output = {f"n_steps_{member}": value for member, value in enumerate(steps)}
    output |= {f"completeness_error_{member}": torch.full((14,), value) for member, value in enumerate(errors)}
    row = _written(tmp_path, images, sections, len(steps) or 2, **output)
    assert (row["n_steps"], row["completeness_error"]) == expected
    assert (row["probability"], row["agreement"]) == ("0.5", "")


def test_agreement_is_the_mean_rank_correlation_of_every_two_members(images, sections, tmp_path: Path) -> None:
    """Of three maps two are equal and the third is reversed: 1, -1 and -1; a lone member agrees with nobody."""
    rising = torch.arange(16.0).reshape(4, 4).repeat(14, 1, 1)
    maps = {"attribution_0": rising, "attribution_1": rising**2, "attribution_2": 15 - rising}
    row = _written(tmp_path / "three", images, sections, 3, **maps)
    assert float(row["agreement"]) == pytest.approx(-1 / 3, abs=1e-4)
    assert _written(tmp_path / "lone", images, sections, 1, attribution_0=rising)["agreement"] == ""


def test_maps_of_the_wanted_number_of_images_are_kept(reference, images, networks, sections, tmp_path: Path) -> None:
    """Also by an interrupted run and by several processes; the labels' own files stay the same."""
    with pytest.raises(KeyboardInterrupt):
        _run(_store(tmp_path / "resumed", images, sections, kept_maps=4), networks, stop_after=1)
    store = _store(tmp_path / "resumed", images, sections, kept_maps=4)
    _run(store, networks)
    for rank in (1, 0):
        _run(_store(tmp_path / "shared", images, sections, kept_maps=4, rank=rank, world_size=2), networks)
    explained = {record["image"] for part in sections.values() for record in part if 1 in record["label"][:13]}
    wanted = {store.map_path(image) for image in explained if store.relative(image) in store.with_maps}
    assert len(store.with_maps) == 4
    written = _digests(tmp_path / "resumed")
    assert written == _digests(tmp_path / "shared")
    assert {name for name in written if name.startswith("maps/")} == wanted
    assert {name: digest for name, digest in written.items() if name not in wanted} == reference


def test_kept_maps_show_the_mean_and_the_members(images, networks, sections, tmp_path: Path) -> None:
    store = _store(tmp_path, images, sections, kept_maps=IMAGES)
    _run(store, networks)
    with Image.open(tmp_path / store.map_path(sections["training"][0]["image"])) as picture:
        assert picture.info["observations"] == FINDINGS[13]  # No Finding, its other observation, is not explained
        maps = np.asarray(picture).reshape(24, 3, 32)
    assert (maps.max(axis=(0, 2)) == 255).all()
