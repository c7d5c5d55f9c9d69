"""Label folders of a chosen quality, and the quality of label folders made elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from doll_monai.data.datalist import SECTIONS, write_datalist
from doll_monai.data.label_files import read_label, write_label
from doll_monai.findings import CHANNEL_DEF, FINDINGS, FOREGROUND, IGNORE
from doll_monai.utils.atomic import write_whole
from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_monai.utils.progress import Bar
from doll_tools.pretraining_gain.degradation import bright_anatomy, degrade, generator_of, iou, strength_for
from doll_tools.pretraining_gain.films import PhantomFilm, read_films, read_grey, split

SHUFFLED = "none"
"""The quality of labels that belong to other films."""
DATALIST, ERRORS, QUALITY = "dataset.json", "errors.json", "quality.json"
SAMPLE = 100
"""Films on which the strength is found."""
UNLOCALISED = FINDINGS.index("No Finding")
"""Ignored, as in a DoLL: it has no place."""


def write_label_folder(
    films: str,
    output: str,
    quality: float | str | None = None,
    labels: str | None = None,
    validation: int = 32,
    seed: int = 0,
    quiet: bool = False,
) -> None:
    """Labels with chosen errors for the phantom's films; or, with --labels, the quality of labels that are there.

    Writes label files, dataset.json (which doll_cxr_segmentation reads), errors.json (how they were made; the label of
    a film does not depend on later films) and quality.json; with --labels quality.json alone.

    Args:
        films: folder of the phantom.
        output: folder to write to.
        quality: mean IoU of the regions with the truth, above 0, at most 1; none for labels of other films.
        labels: label folder made elsewhere, with its dataset.json.
        validation: number of validation films.
        seed: of the errors.
        quiet: show no progress.
    """
    if (quality is None) == (labels is None):
        raise InputError("Give either --quality or --labels.")
    folder, target = Path(str(films)), Path(str(output))
    found = read_films(folder)
    with Bar(name="labels", total=len(found) * (1 if quality is None else 2), quiet=quiet) as bar:
        if labels is None:
            _write(folder, found, target, check_quality(quality), validation, seed, bar)
        table = measure(folder, bar.along(found), target if labels is None else Path(str(labels)))
    record: dict[str, Any] = {"measured": round(float(table["iou"].mean()), 5), "labels": len(table)}
    by_observation = table.groupby("channel")["iou"].agg(["mean", "size"])
    record["observations"] = {
        FINDINGS[int(channel)]: {"iou": round(float(mean), 5), "labels": int(size)}
        for channel, mean, size in by_observation.itertuples()
    }
    write_whole(target / QUALITY, (json.dumps(record, indent=2) + "\n").encode())
    print(f"Mean IoU with the truth: {record['measured']:.3f} over {len(table)} labels.")


def check_quality(quality: Any) -> float | str:
    """A label quality: a mean IoU, or ``none``.

    Raises:
        InputError: when it is neither.
    """
    if quality == SHUFFLED:
        return SHUFFLED
    try:
        value = float(quality)
    except (TypeError, ValueError):
        value = float("nan")
    if isinstance(quality, bool) or not 0 < value <= 1:
        raise InputError(f"A label quality is a mean IoU above 0, at most 1, or {SHUFFLED}; not {quality}.")
    return value


def records(label_dir: Path) -> dict[str, str]:
    """Film to label file, as they stand in a label folder's ``dataset.json``, all sections together.

    Raises:
        InputError: when there is no such file.
    """
    content = read_json_object(label_dir / DATALIST, "give a folder that doll_cxr_label_generation wrote")
    found = [record for section in SECTIONS for record in content.get(section, [])]
    if not all(isinstance(record, dict) and {"image", "label"} <= set(record) for record in found):
        raise InputError(f"{label_dir / DATALIST} has records without an image and a label.")
    return {str(record["image"]): str(record["label"]) for record in found}


def measure(folder: Path, films: Iterable[PhantomFilm], label_dir: Path) -> pd.DataFrame:
    """IoU of labels with the truth.

    Ignored pixels count as background. An observation that a label ignores everywhere says nothing and is left out;
    so is one that neither label nor truth has in the film.

    Args:
        folder: of the phantom.
        films: its films; those without a label are left out.
        label_dir: the labels.

    Returns:
        ``image``, ``channel``, ``iou``.

    Raises:
        InputError: when no film has a label.
    """
    paths, rows = records(label_dir), []
    for film in films:
        if film.image not in paths:
            continue
        label = _read(label_dir / paths[film.image])
        for channel in range(len(FINDINGS)):
            if (label[channel] == IGNORE).all():
                continue
            region = label[channel] == FOREGROUND
            if channel in film.masks:
                truth = _on_grid(read_grey(folder / film.masks[channel]) > 127, region.shape)
                rows.append((film.image, channel, iou(region, truth)))
            elif region.any():
                rows.append((film.image, channel, 0.0))
    if not rows:
        raise InputError(f"{label_dir} has no label of a film in {folder}.")
    return pd.DataFrame(rows, columns=["image", "channel", "iou"]).dropna(subset="iou")


def _write(
    folder: Path,
    films: Sequence[PhantomFilm],
    output: Path,
    wanted: float | str,
    validation: int,
    seed: int,
    bar: Bar,
) -> None:
    """Write label files, ``dataset.json`` and ``errors.json``."""
    strength = 0.0 if isinstance(wanted, str) else _strength(folder, films[:SAMPLE], wanted, seed)
    for number, film in enumerate(bar.along(films)):
        source = _other(films, number, seed) if wanted == SHUFFLED else film
        label = _label(folder, source, strength, seed)
        if source is not film:
            shape = read_grey(folder / film.image).shape
            label = np.stack([_on_grid(channel, shape) for channel in label])
        write_label(output / _label_path(film), label.transpose(0, 2, 1))
    chosen = dict(zip(("validation", "training"), split(films, validation), strict=True))
    sections = {
        name: [{"image": film.image, "label": _label_path(film)} for film in chosen[name]]
        for name in ("training", "validation")
    }
    write_datalist(output / DATALIST, sections, labels=CHANNEL_DEF)
    errors = {"wanted": wanted, "strength": None if wanted == SHUFFLED else strength, "seed": seed}
    write_whole(output / ERRORS, (json.dumps(errors, indent=2) + "\n").encode())


def _strength(folder: Path, films: Sequence[PhantomFilm], wanted: float, seed: int) -> float:
    truths = [_truth(folder, film) for film in films if film.masks]

    def mean_iou(strength: float) -> float:
        values = [
            iou(mask, degrade(mask, bright, strength, generator_of(seed, image, channel)))
            for image, bright, masks in truths
            for channel, mask in masks.items()
        ]
        return float(np.mean(values))

    return strength_for(wanted, mean_iou)


def _truth(folder: Path, film: PhantomFilm) -> tuple[str, np.ndarray, dict[int, np.ndarray]]:
    bright = bright_anatomy(read_grey(folder / film.image))
    masks = {channel: read_grey(folder / path) > 127 for channel, path in film.masks.items()}
    return film.image, bright, {channel: mask for channel, mask in masks.items() if mask.any()}


def _label(folder: Path, film: PhantomFilm, strength: float, seed: int) -> np.ndarray:
    """(T, H, W) ``uint8``."""
    image, bright, masks = _truth(folder, film)
    label = np.zeros((len(FINDINGS), *bright.shape), np.uint8)
    label[UNLOCALISED] = IGNORE
    for channel, mask in masks.items():
        label[channel] = degrade(mask, bright, strength, generator_of(seed, image, channel))
    return label


def _other(films: Sequence[PhantomFilm], number: int, seed: int) -> PhantomFilm:
    """A random film of another patient; not among those after both this one and the first ``SAMPLE``."""
    film = films[number]
    candidates = [other for other in films[: max(number, SAMPLE)] if other.patient != film.patient]
    if not candidates:
        raise InputError("Labels of other films need the films of two patients at least.")
    return candidates[int(generator_of(seed, film.image, len(FINDINGS)).integers(len(candidates)))]


def _label_path(film: PhantomFilm) -> str:
    return f"labels/{film.image.rpartition('.')[0]}.nii.gz"


def _read(path: Path) -> np.ndarray:
    """A label file as (T, H, W)."""
    try:
        found = read_label(path)
    except Exception as error:
        raise InputError(f"The label {path} cannot be read; make it again.") from error
    if found is None or len(found[0]) != len(FINDINGS):
        raise InputError(f"The label {path} has not the layout of a DoLL with {len(FINDINGS)} channels.")
    return found[0].transpose(0, 2, 1)


def _on_grid(mask: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A mask or channel stretched to another shape (H, W), by nearest pixel."""
    if mask.shape == tuple(shape):
        return mask
    picture = Image.fromarray(mask.astype(np.uint8)).resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    return np.asarray(picture).astype(mask.dtype)
