"""What all preparations of data sets share: reading every file once, counting, writing ``dataset.json`` and labels.

A data set's own module says where its films and masks are (``Prepared``); nothing of the data set is copied or changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from doll_monai.data.datalist import SECTIONS, write_datalist
from doll_monai.data.jsrt_image import film_affine, is_raw_film, read_raw_film
from doll_monai.data.label_files import label_file
from doll_monai.findings import CHANNEL_DEF
from doll_monai.utils.atomic import write_whole
from doll_monai.utils.errors import InputError
from doll_monai.utils.pictures import MAX_PIXELS, ORIENTATION, open_picture, upright
from doll_tools.prepare.chexpert import CHECK_EVERY, CHECKED_WITHOUT_ASKING, count_labels
from doll_tools.prepare.masks import LABEL_FOLDER, label_array
from doll_tools.prepare.published import Count, count_table, count_warning

SHOWN_DEFECTS = 20
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif")

Progress = Callable[[Sequence["Film"]], Iterable["Film"]]


@dataclass(frozen=True)
class Film:
    """A film and what is known of it.

    Attributes:
        image: path relative to the data set's folder, with forward slashes.
        section: ``training``, ``validation`` or ``test``.
        values: the 14 raw labels of a film to classify, in the order of ``FINDINGS``.
        masks: class to the files whose union it is, relative to the data set's folder or absolute; no file is an empty
            mask. None for a film to classify.
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
        films: all films that are used.
        counts: numbers found and published.
        classes: classes of the masks in the order of the label's channels; empty for films to classify.
        notes: further lines for the user.
        missing: a sentence for every film or mask that should be there and is not; their films are left out.
        files: names and contents of further files for the output, such as ``boxes.csv``.
        enlarge: how many times as large as its mask a film is, a whole number.
    """

    name: str
    dataset_dir: Path
    films: Sequence[Film]
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
        output: folder for what is written; for films to classify it may be the ``.json`` file to write. With ``check``
            it is not needed.
        check: read every film and mask and write nothing.
        progress: wraps the films while they are read, ``doll_monai.utils.progress.Bar`` for instance.

    Raises:
        InputError: when a film or mask is missing or unreadable, sizes do not fit, or two films would have one label
            file; with ``check`` after all were read.
    """
    print(f"{prepared.name} in {prepared.dataset_dir}")
    print(count_table(prepared.counts))
    for note in prepared.notes:
        print(note)
    if prepared.missing:
        print(f"{len(prepared.missing)} films are left out, a file is missing. {prepared.missing[0]}")
    warning = count_warning(prepared.counts)
    if warning:
        print(f"Warning: {warning}")
    if not prepared.films:
        raise InputError(f"{prepared.dataset_dir} has no film to use.")
    _print_sections(prepared)
    if check:
        _report(defects(prepared, progress), len(prepared.films) + len(prepared.missing))
        return
    if output is None:
        raise InputError("Give output, the folder for dataset.json, or --check to write nothing.")
    path = Path(output)
    path = path if path.suffix == ".json" else path / "dataset.json"
    sections = _write_films(prepared, path.parent, progress)
    for name, content in prepared.files.items():
        write_whole(path.parent / name, content)
        print(path.parent / name)
    labels: Any = dict(enumerate(prepared.classes)) if prepared.classes else CHANNEL_DEF
    write_datalist(path, sections, name=prepared.name, labels=labels)
    print(path)


def defects(prepared: Prepared, progress: Progress = iter) -> list[str]:
    """What is wrong with films and masks, a sentence each; all of them are read."""
    found = list(prepared.missing)
    for film in progress(prepared.films):
        try:
            if film.masks is None:
                _read_size(prepared.dataset_dir / film.image)
            else:
                label_of(film, prepared)
        except InputError as error:
            found.append(str(error))
    return found


def label_of(film: Film, prepared: Prepared) -> tuple[np.ndarray, np.ndarray | None]:
    """Label of a film with masks.

    Returns:
        (W, H, 1, C) uint8, 0 or 1, the film's size; and its affine, None for a picture. A mask that is smaller than
        its film by the whole number ``prepared.enlarge`` has each pixel repeated.

    Raises:
        InputError: when a file is missing or unreadable, or a mask does not fit its film.
    """
    path = prepared.dataset_dir / film.image
    size, affine = _read_size(path)
    files = film.masks or {}
    masks = {name: [prepared.dataset_dir / file for file in files.get(name, ())] for name in prepared.classes}
    return label_array(path, masks, size=size, enlarge=prepared.enlarge), affine


def _read_size(path: Path) -> tuple[tuple[int, int], np.ndarray | None]:
    """(W, H) and affine of a film that can be read to its end."""
    if not path.is_file():
        raise InputError(f"The film {path} does not exist; unpack it again or take it out of the table.")
    try:
        if is_raw_film(path):
            height, width = read_raw_film(path).shape
            return (width, height), film_affine()
        if path.suffix.lower() in PICTURES:
            return _picture_size(path), None
    except InputError:
        raise
    except Exception as error:  # Pillow's plug-ins raise whatever a damaged file makes them stumble over
        reason = f" ({error})" if is_raw_film(path) else ""
        raise InputError(f"The film {path} cannot be read{reason}; unpack it again or take it out.") from error
    from doll_monai.transforms.reading import LoadFilmd

    film = LoadFilmd("image")({"image": str(path)})["image"]
    return (film.shape[1], film.shape[2]), np.asarray(film.affine)


def _picture_size(path: Path) -> tuple[int, int]:
    """(W, H) of a picture of one page as viewers show it, read to its end."""
    with open_picture(path) as picture:
        pages = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
        if pages != 1:
            raise InputError(f"The film {path} has {pages} pages; save the one that is the film.")
        if picture.width * picture.height > MAX_PIXELS:
            raise InputError(f"The film {path} claims more pixels than the {MAX_PIXELS:,} of films; take it out.")
        if picture.getexif().get(ORIENTATION, 1) != 1:
            return upright(picture).size
        size = picture.size
        picture.draft("L", (64, 64))
        picture.load()
        return size


def _write_films(prepared: Prepared, output: Path, progress: Progress) -> dict[str, list[dict]]:
    sections: dict[str, list[dict]] = {section: [] for section in SECTIONS}
    contents: dict[str, bytes] = {}
    owners: dict[str, str] = {}
    if not prepared.classes:
        _look_for_some(prepared)
    for film in progress(prepared.films) if prepared.classes else prepared.films:
        record: dict[str, Any] = {"image": film.image}
        if prepared.classes:
            label = str(PurePosixPath(LABEL_FOLDER) / PurePosixPath(film.image).with_suffix(".nii.gz"))
            if label in owners:
                raise InputError(
                    f"{film.image} and {owners[label]} would have the same label file; rename one of them."
                )
            owners[label] = film.image
            array, affine = label_of(film, prepared)
            contents[label] = label_file(array, affine)
            record["label"] = label
        else:
            record["label"] = list(film.values or ())
        sections[film.section].append(record)
    for label, content in contents.items():
        write_whole(output / label, content)
    return sections


def _look_for_some(prepared: Prepared) -> None:
    """All images of up to 5,000, else every 100th must exist: enough to notice a folder that is not unpacked."""
    films = prepared.films
    looked_for = films if len(films) <= CHECKED_WITHOUT_ASKING else films[::CHECK_EVERY]
    missing = [film.image for film in looked_for if not (prepared.dataset_dir / film.image).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(looked_for)} images looked for do not exist below {prepared.dataset_dir}, first: "
            f"{missing[0]}; unpack them, --check lists all."
        )


def _print_sections(prepared: Prepared) -> None:
    for section in SECTIONS:
        films = [film for film in prepared.films if film.section == section]
        print(f"\n{section}: {len(films)} films")
        if films and not prepared.classes:
            print(f"{'':28}{'positive':>10}{'negative':>10}{'uncertain':>10}{'blank':>10}")
            for finding, numbers in count_labels([{"label": list(film.values or ())} for film in films]).items():
                print(f"{finding:28}" + "".join(f"{number:>10}" for number in numbers))
    print()


def _report(found: Sequence[str], films: int) -> None:
    for sentence in found[:SHOWN_DEFECTS]:
        print(sentence)
    if len(found) > SHOWN_DEFECTS:
        print(f"... and {len(found) - SHOWN_DEFECTS} more")
    if found:
        raise InputError(
            f"{len(found)} of {films} films or their masks are missing or unreadable; see the lines above."
        )
    print(f"All {films} films and their masks are there and readable; nothing was written.")
