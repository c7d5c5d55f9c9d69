"""An image that cannot be read does not stop a run, and changes nothing for the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose, MapTransform, Resized, ScaleIntensityRangePercentilesd
from PIL import Image

from doll_monai.data.image_dataset import ImageDataset
from doll_monai.transforms.observations import ObservationTargetsd
from doll_monai.transforms.reading import LoadRadiographd
from doll_monai.utils.errors import InputError, sentence_of

TRANSFORM = Compose(
    [
        LoadRadiographd("image"),
        Resized("image", [24, 16], mode="bilinear", anti_aliasing=True),
        ScaleIntensityRangePercentilesd("image", 1, 99, 0.0, 1.0, clip=True),
        ObservationTargetsd("label"),
    ]
)


@pytest.fixture
def images(tmp_path: Path) -> list[dict]:
    """Records of four images."""
    generator = np.random.default_rng(0)
    records = []
    for number in range(4):
        path = tmp_path / "images" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 30), dtype=np.uint8)).save(path)
        records.append({"image": str(path), "label": [float(channel == number) for channel in range(14)], "chunk": 7})
    return records


def _batch(records: list[dict], workers: int = 0, on_error: str = "skip") -> dict:
    dataset = ImageDataset(records, TRANSFORM, Path(records[0]["image"]).parent, on_error)
    (batch,) = DataLoader(dataset, batch_size=4, num_workers=workers)
    return batch


@pytest.mark.parametrize("workers", [0, 1])
def test_a_black_image_takes_the_place_of_a_bad_one(images, workers: int) -> None:
    whole = _batch(images)
    Path(images[2]["image"]).write_bytes(b"")
    batch = _batch(images, workers)
    others = [0, 1, 3]
    assert batch["image"].shape == whole["image"].shape
    assert torch.equal(batch["image"][others].as_tensor(), whole["image"][others].as_tensor())
    assert torch.equal(batch["image"].affine[others], whole["image"].affine[others])
    assert batch["image"].meta["filename_or_obj"] == whole["image"].meta["filename_or_obj"]
    assert not bool(batch["image"][2].any())
    assert torch.equal(batch["label"], whole["label"])
    assert batch["chunk"].tolist() == [7] * 4
    assert whole["error"] == [""] * 4
    assert [bool(error) for error in batch["error"]] == [False, False, True, False]
    assert batch["error"][2].startswith(f"The image {images[2]['image']} cannot be read (it is empty)")


def test_a_batch_of_bad_images_alone_has_the_same_shape(images) -> None:
    for record in images:
        Path(record["image"]).write_bytes(b"no picture")
    batch = _batch(images)
    assert batch["image"].shape == (4, 1, 24, 16)
    assert all(batch["error"])


def test_a_bad_image_stops_the_run_when_asked_to(images) -> None:
    Path(images[1]["image"]).unlink()
    with pytest.raises(RuntimeError) as caught:
        _batch(images, on_error="raise")
    assert "1.png does not exist" in str(sentence_of(caught.value))
    with pytest.raises(InputError, match="on_error must be one of skip, raise, not 'ignore'"):
        _batch(images, on_error="ignore")


def test_images_that_have_all_vanished_stop_the_run(images) -> None:
    for record in images:
        Path(record["image"]).unlink()
    with pytest.raises(InputError, match="images is gone or empty; when it is back, the same command continues"):
        _batch(images)


def test_a_mistake_in_the_program_is_not_taken_for_a_bad_image(images) -> None:
    class Broken(MapTransform):
        def __call__(self, data):
            raise KeyError("no such key")

    with pytest.raises(RuntimeError) as caught:
        ImageDataset(images, Compose([LoadRadiographd("image"), Broken("image")]), "images")[0]
    assert isinstance(caught.value.__cause__, KeyError)
    assert sentence_of(caught.value) is None
