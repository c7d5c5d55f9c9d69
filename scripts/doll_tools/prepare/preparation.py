"""What all preparations of data sets share: reading every file once, counting, writing ``dataset.json`` and labels.

A data set's own module says where its images and masks are (``Prepared``); nothing of the data set is copied or changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from doll_monai.data.datalist import SECTIONS, write_datalist
from doll_monai.data.jsrt import image_affine, is_raw_image, read_raw_image
from doll_monai.data.label_files import label_file
from doll_monai.findings import CHANNEL_DEF
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_monai.utils.pictures import MAX_PIXELS, ORIENTATION, open_picture, upright
from doll_tools.prepare.chexpert import CHECK_EVERY, CHECKED_WITHOUT_ASKING, count_labels
from doll_tools.prepare.masks import LABEL_FOLDER, label_array
from doll_tools.prepare.published import Count, count_table, count_warning

SHOWN_DEFECTS = 20
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif")

Progress = Callable[[Sequence["Radiograph"]], Iterable["Radiograph"]]


@dataclass(frozen=True)
class Radiograph:
    """An image and what is known of it.

    Attributes:
        image: path relative to the data set's folder, with forward slashes.
        section: ``training``, ``validation`` or ``test``.
        values: the 14 raw labels of an image to classify, in the order of ``FINDINGS``.
        masks: class to the files whose union it is, relative to the data set's folder or absolute; no file is an empty
            mask. None for an image to classify.
    """

    image: str
    section: str
    values: Sequence[float | None] | None = None
    masks: Mapping[str, Sequence[str]] | None = None


@dataclass(frozen=True)
class Prepared:
    """A data set that was looked through, before anything is written.

    Attributes:
        name: the data set's name.
        dataset_dir: folder to which images are relative.
        images: all images that are used.
        counts: numbers found and published.
        classes: classes of the masks in the order of the label's channels; empty for images to classify.
        notes: further lines for the user.
        missing: a sentence for every image or mask that should be there and is not; their images are left out.
        files: names and contents of further files for the output, such as ``boxes.csv``.
        enlarge: how many times as large as its mask an image is, a whole number.
    """

    name: str
    dataset_dir: Path
    images: Sequence[Radiograph]
    counts: Sequence[Count] = ()
    classes: Sequence[str] = ()
    notes: Sequence[str] = ()
    missing: Sequence[str] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    enlarge: int = 1


def finish(
    prepared: Prepared, output: str | os.PathLike[str] | None, *, check: bool, progress: Progress = iter
) -> None:
    """Print what was found; then write ``dataset.json``, labels and further files, or with ``check`` only report.

    All masks are read before the first file is written, so a mistake leaves nothing behind.

    Args:
        prepared: the data set.
        output: folder for what is written; for images to classify it may be the ``.json`` file to write. With ``check``
            it is not needed.
        check: read every image and mask and write nothing.
        progress: wraps the images while they are read, ``doll_monai.utils.progress.Bar`` for instance.

    Raises:
        InputError: when an image or mask is missing or unreadable, sizes do not fit, or two images would have one label
            file; with ``check`` after all were read.
    """
    print(f"{prepared.name} in {prepared.dataset_dir}")
    print(count_table(prepared.counts))
    for note in prepared.notes:
        print(note)
    if prepared.missing:
        print(f"{len(prepared.missing)} images are left out, a file is missing. {prepared.missing[0]}")
    warning = count_warning(prepared.counts)
    if warning:
        print(f"Warning: {warning}")
    if not prepared.images:
        raise InputError(f"{prepared.dataset_dir} has no image to use.")
    _print_sections(prepared)
    if check:
        _report(defects(prepared, progress), len(prepared.images) + len(prepared.missing))
        return
    if output is None:
        raise InputError("Give output, the folder for dataset.json, or --check to write nothing.")
    path = Path(output)
    path = path if path.suffix == ".json" else path / "dataset.json"
    sections = _write_images(prepared, path.parent, progress)
    for name, content in prepared.files.items():
        write_atomic(path.parent / name, content)
        print(path.parent / name)
    labels: Any = dict(enumerate(prepared.classes)) if prepared.classes else CHANNEL_DEF
    write_datalist(path, sections, name=prepared.name, labels=labels)
    print(path)


def defects(prepared: Prepared, progress: Progress = iter) -> list[str]:
    """What is wrong with images and masks, a sentence each; all of them are read."""
    found = list(prepared.missing)
    for image in progress(prepared.images):
        try:
            if image.masks is None:
                _read_size(prepared.dataset_dir / image.image)
            else:
                label_of(image, prepared)
        except InputError as error:
            found.append(str(error))
    return found


def label_of(image: Radiograph, prepared: Prepared) -> tuple[np.ndarray, np.ndarray | None]:
    """Label of an image with masks.

    Returns:
        (W, H, 1, C) uint8, 0 or 1, the image's size; and its affine, None for a picture. A mask that is smaller than
        its image by the whole number ``prepared.enlarge`` has each pixel repeated.

    Raises:
        InputError: when a file is missing or unreadable, or a mask does not fit its image.
    """
    path = prepared.dataset_dir / image.image
    size, affine = _read_size(path)
    files = image.masks or {}
    masks = {name: [prepared.dataset_dir / file for file in files.get(name, ())] for name in prepared.classes}
    return label_array(path, masks, size=size, enlarge=prepared.enlarge), affine


def _read_size(path: Path) -> tuple[tuple[int, int], np.ndarray | None]:
    """(W, H) and affine of an image that can be read to its end."""
    if not path.is_file():
        raise InputError(f"The image {path} does not exist; unpack it again or take it out of the table.")
    try:
        if is_raw_image(path):
            height, width = read_raw_image(path).shape
            return (width, height), image_affine()
        if path.suffix.lower() in PICTURES:
            return _picture_size(path), None
    except InputError:
        raise
    except Exception as error:  # Pillow's plug-ins raise whatever a damaged file makes them stumble over
        reason = f" ({error})" if is_raw_image(path) else ""
        raise InputError(f"The image {path} cannot be read{reason}; unpack it again or take it out.") from error
    from doll_monai.transforms.reading import LoadRadiographd

    image = LoadRadiographd("image")({"image": str(path)})["image"]
    return (image.shape[1], image.shape[2]), np.asarray(image.affine)


def _picture_size(path: Path) -> tuple[int, int]:
    """(W, H) of a picture of one page as viewers show it, read to its end."""
    with open_picture(path) as picture:
        pages = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
        if pages != 1:
            raise InputError(f"The image {path} has {pages} pages; save the one that is the image.")
        if picture.width * picture.height > MAX_PIXELS:
            raise InputError(f"The image {path} claims more pixels than the {MAX_PIXELS:,} of images; take it out.")
        if picture.getexif().get(ORIENTATION, 1) != 1:
            return upright(picture).size
        size = picture.size
        picture.draft("L", (64, 64))
        picture.load()
        return size


def _write_images(prepared: Prepared, output: Path, progress: Progress) -> dict[str, list[dict]]:
    sections: dict[str, list[dict]] = {section: [] for section in SECTIONS}
    contents: dict[str, bytes] = {}
    owners: dict[str, str] = {}
    if not prepared.classes:
        _look_for_some(prepared)
    for image in progress(prepared.images) if prepared.classes else prepared.images:
        record: dict[str, Any] = {"image": image.image}
        if prepared.classes:
            label = str(PurePosixPath(LABEL_FOLDER) / PurePosixPath(image.image).with_suffix(".nii.gz"))
            if label in owners:
                raise InputError(
                    f"{image.image} and {owners[label]} would have the same label file; rename one of them."
                )
            owners[label] = image.image
            array, affine = label_of(image, prepared)
            contents[label] = label_file(array, affine)
            record["label"] = label
        else:
            record["label"] = list(image.values or ())
        sections[image.section].append(record)
    for label, content in contents.items():
        write_atomic(output / label, content)
    return sections


def _look_for_some(prepared: Prepared) -> None:
    """All images of up to 5,000, else every 100th must exist: enough to notice a folder that is not unpacked."""
    images = prepared.images
    looked_for = images if len(images) <= CHECKED_WITHOUT_ASKING else images[::CHECK_EVERY]
    missing = [image.image for image in looked_for if not (prepared.dataset_dir / image.image).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(looked_for)} images looked for do not exist below {prepared.dataset_dir}, first: "
            f"{missing[0]}; unpack them, --check lists all."
        )


def _print_sections(prepared: Prepared) -> None:
    for section in SECTIONS:
        images = [image for image in prepared.images if image.section == section]
        print(f"\n{section}: {len(images)} images")
        if images and not prepared.classes:
            print(f"{'':28}{'positive':>10}{'negative':>10}{'uncertain':>10}{'blank':>10}")
            for finding, numbers in count_labels([{"label": list(image.values or ())} for image in images]).items():
                print(f"{finding:28}" + "".join(f"{number:>10}" for number in numbers))
    print()


def _report(found: Sequence[str], images: int) -> None:
    for sentence in found[:SHOWN_DEFECTS]:
        print(sentence)
    if len(found) > SHOWN_DEFECTS:
        print(f"... and {len(found) - SHOWN_DEFECTS} more")
    if found:
        raise InputError(
            f"{len(found)} of {images} images or their masks are missing or unreadable; see the lines above."
        )
    print(f"All {images} images and their masks are there and readable; nothing was written.")
