"""The folder of labels: the same bytes whether undisturbed, resumed or shared by several processes."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
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
from doll_monai.handlers.explanations import IntegratedGradientsHandler
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


@cache
def _networks() -> list[nn.Module]:
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


@pytest.fixture
def store(images: Path, sections) -> Callable[..., LabelStore]:
    """A label folder of these images, with other arguments where given."""
    usual = {"chunk_size": CHUNK, "provenance": {"ig_steps": 2, "checkpoint_sha256": "abc"}, "kept_maps": 4}
    return lambda output, **changed: LabelStore(output, images, **{"sections": sections, **usual, **changed})


def _run(store: LabelStore, stop_after: int | None = None) -> None:
    """Label what is pending, as the bundle does; stop (as if killed) in the given batch before its rows are written."""
    networks, keys = _networks(), ["attribution_0", "attribution_1"]
    load = Compose([LoadRadiographd("image"), ObservationTargetsd("label")])
    pending = store.pending()
    if not pending:
        return
    evaluator = EnsembleEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(pending, load), batch_size=CHUNK),
        networks=networks,
        pred_keys=["pred_0", "pred_1"],
        postprocessing=Compose(
            [
                MultiplyByInputd(keys),
                AttributionMagnituded(keys),
                NormalizeAttributiond(keys),
                MeanEnsembled(keys, output_key="pred"),
                AttributionToLabeld("pred"),
            ]
        ),
        val_handlers=[IntegratedGradientsHandler(networks, n_steps=2), LabelWriter(store, members=len(networks))],
    )

    @evaluator.on(Events.ITERATION_STARTED)
    def stop(engine: Engine) -> None:
        if stop_after is not None and engine.state.iteration > stop_after:
            raise KeyboardInterrupt

    try:
        evaluator.run()
    finally:
        store.wait()
    store.finish()


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def reference(store, tmp_path: Path) -> dict[str, str]:
    """What an undisturbed run writes."""
    _run(store(tmp_path / "reference"))
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
            label = LoadLabeld("label", channels=14, ignore=True)(record)["label"]
            assert label.shape == (14, 32, 24)
            for channel, value in enumerate(raw["label"]):
                values = set(label[channel].unique().tolist())
                assert values == ({IGNORE} if value == -1 or channel == 0 else {0} if value == 0 else {0, 1, IGNORE})


def test_table_has_a_row_for_each_positive_observation(reference, images, sections, tmp_path: Path) -> None:
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
        logit = torch.stack([network.eval()(image)[0, 1] for network in _networks()]).mean()
    assert row["probability"] == pytest.approx(float(torch.sigmoid(logit)), abs=1e-4)
    path = tmp_path / "reference" / "labels" / row["image"].replace(".png", ".nii.gz")
    share = (LoadLabeld(ignore=True)({"label": str(path)})["label"][1] == FOREGROUND).float().mean()
    assert row["foreground_share"] == pytest.approx(float(share), abs=1e-4)
    unlocalized = table["observation"] == "No Finding"
    assert (table["n_steps"] == (~unlocalized) * 2).all()
    assert table.loc[unlocalized, "completeness_error"].isna().all()
    assert table.loc[~unlocalized, "completeness_error"].notna().all()


def test_a_resumed_run_gives_the_same_bytes(reference, store, tmp_path: Path) -> None:
    output = tmp_path / "resumed"
    for stop_after in (0, 2):
        with pytest.raises(KeyboardInterrupt):
            _run(store(output), stop_after=stop_after)
        assert not (output / "labels.csv").exists()
        assert not (output / "dataset.json").exists()
    _run(store(output))
    assert _digests(output) == reference


def test_what_is_missing_is_made_again(reference, store, tmp_path: Path) -> None:
    output = tmp_path / "reference"
    sorted((output / "rows").iterdir())[1].unlink()
    assert [record["chunk"] for record in store(output).pending()] == [1] * CHUNK
    min((output / "labels").rglob("*.nii.gz")).unlink()
    _run(store(output))
    assert _digests(output) == reference
    assert store(output).pending() == []


@pytest.mark.parametrize("world_size", [2, 5])
def test_several_processes_write_the_same_bytes(reference, store, world_size: int, tmp_path: Path) -> None:
    output = tmp_path / "sharded"
    stores = [store(output, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert sum(len(part.pending()) for part in stores) == IMAGES
    for part in reversed(stores):
        _run(part)
    assert _digests(output) == reference


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"provenance": {"ig_steps": 3, "checkpoint_sha256": "abc"}}, "ig_steps"),
        ({"provenance": {"ig_steps": 2}}, "checkpoint_sha256"),
        ({"chunk_size": 2}, "chunk_size"),
        ({"sections": {"training": []}}, ".*"),  # chunks are numbered: those of another list are not taken for done
    ],
)
def test_labels_that_were_made_otherwise_are_refused(store, changed, name: str, tmp_path: Path) -> None:
    store(tmp_path).claim()
    before = _digests(tmp_path)
    with pytest.raises(InputError, match=f"were made with another {name}; give a new output_dir"):
        store(tmp_path, **changed).claim()
    assert _digests(tmp_path) == before


def test_two_images_with_one_label_file_are_refused(images, store, tmp_path: Path) -> None:
    records = [{"image": str(images / name), "label": [0.0] * 14} for name in ("image.png", "image.jpg")]
    with pytest.raises(InputError, match=r"image\.png and .*image\.jpg would have the same name in the output"):
        store(tmp_path, sections={"training": records}).claim()


def test_of_two_runs_with_other_settings_that_start_at_once_one_is_refused(store, tmp_path: Path) -> None:
    stores = [store(tmp_path, provenance={"ig_steps": steps}) for steps in range(8)]
    with ThreadPoolExecutor(len(stores)) as pool:
        claims = [pool.submit(each.claim) for each in stores]
    (claimed,) = [steps for steps, claim in enumerate(claims) if not isinstance(claim.exception(), InputError)]
    assert json.loads((tmp_path / "provenance.json").read_text())["ig_steps"] == claimed


def test_a_folder_that_vanished_is_not_made_anew(store, tmp_path: Path) -> None:
    labels = store(tmp_path / "labels")
    labels.claim()
    shutil.rmtree(tmp_path / "labels")
    labels.write(0, {}, [], {})
    with pytest.raises(InputError, match=r"labels.* has vanished while labels were written; when .* is back"):
        labels.wait()
    assert not (tmp_path / "labels").exists()


def test_what_killed_processes_left_over_is_deleted(store, sections, tmp_path: Path) -> None:
    image, labels = sections["training"][0]["image"], store(tmp_path)
    written = [tmp_path / name for name in (labels.label_path(image), labels.map_path(image), "rows/000000.csv")]
    stale = [path.with_name(f".{path.name}.{2**22 + 1}-1@{platform.node()}.tmp") for path in written]
    for path in stale:
        path.parent.mkdir(parents=True)
        path.touch()
    store(tmp_path).claim()
    assert not any(path.exists() for path in stale)


def _written(store: LabelStore, members: int, **output: Any) -> dict[str, str]:
    """The one row of an image with Cardiomegaly, for what K members say."""
    store.claim()
    meta = {"filename_or_obj": store.sections["training"][0]["image"]}
    engine = Engine(lambda *_: None)
    engine.state.batch = [{"chunk": 0, "error": ""}]
    item = {"image": MetaTensor(torch.zeros(1, 4, 4), meta=meta), "label": torch.eye(14)[2]}
    item |= {"pred": torch.zeros(14, 4, 4, dtype=torch.uint8)}
    item |= {f"pred_{member}": torch.zeros(14) for member in range(members)}
    item |= {f"attribution_{member}": torch.zeros(14, 4, 4) for member in range(members)}
    engine.state.output = [{**item, **output}]  # type: ignore[assignment]
    LabelWriter(store, members)(engine)
    store.wait()
    ((row,), _failures) = read_chunk(store.output_dir / "rows" / "000000.csv")
    return dict(zip(COLUMNS, row, strict=True))


@pytest.mark.parametrize(
    ("steps", "errors", "expected"),
    [
        ([torch.arange(14), torch.arange(14) * 3], [0.1, 0.2], ("6", "0.15")),  # the most and the mean
        ([torch.tensor(24)], [0.5], ("24", "0.5")),  # one number for all observations
        ([], [], ("", "")),
    ],
)
def test_steps_and_errors_of_the_members(steps, errors, expected, store, tmp_path: Path) -> None:
    output = {f"n_steps_{member}": value for member, value in enumerate(steps)}
    output |= {f"completeness_error_{member}": torch.full((14,), value) for member, value in enumerate(errors)}
    row = _written(store(tmp_path), len(steps) or 2, **output)
    assert (row["n_steps"], row["completeness_error"]) == expected
    assert (row["probability"], row["agreement"]) == ("0.5", "")


def test_agreement_is_the_mean_rank_correlation_of_every_two_members(store, tmp_path: Path) -> None:
    """Of three maps two are equal and the third is reversed: 1, -1 and -1; a lone member agrees with nobody."""
    rising = torch.arange(16.0).reshape(4, 4).repeat(14, 1, 1)
    maps = {"attribution_0": rising, "attribution_1": rising**2, "attribution_2": 15 - rising}
    assert float(_written(store(tmp_path / "three"), 3, **maps)["agreement"]) == pytest.approx(-1 / 3, abs=1e-4)
    assert _written(store(tmp_path / "lone"), 1, attribution_0=rising)["agreement"] == ""


def test_maps_of_the_wanted_number_of_images_are_kept(reference, store, sections, tmp_path: Path) -> None:
    """Their files change no other; they show the mean and the members."""
    kept, output = store(tmp_path / "reference"), tmp_path / "all"
    explained = {record["image"] for part in sections.values() for record in part if 1 in record["label"][:13]}
    wanted = {kept.map_path(image) for image in explained if kept.relative(image) in kept.with_maps}
    assert len(kept.with_maps) == 4
    assert {name for name in reference if name.startswith("maps/")} == wanted
    every = store(output, kept_maps=IMAGES)
    _run(every)
    assert reference.items() < _digests(output).items()
    with Image.open(output / every.map_path(sections["training"][0]["image"])) as picture:
        assert picture.info["observations"] == FINDINGS[13]  # No Finding, its other observation, is not explained
        assert (np.asarray(picture).reshape(24, 3, 32).max(axis=(0, 2)) == 255).all()
