"""``doll compare``: what do a few annotated images bring, from which initialization, with which tuning?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from doll_monai.utils.errors import InputError
from doll_monai.utils.json_object import read_json_object
from doll_tools.arguments import list_argument, path_argument
from doll_tools.compare.bundle import TaskBundle
from doll_tools.compare.cells import epochs, grid
from doll_tools.compare.initializations import parse_initializations
from doll_tools.compare.plan import ELSEWHERE, Plan
from doll_tools.compare.program import Comparison
from doll_tools.compare.split import ImageTable, check_apart, first_shots, mask_columns, read_images, sections_of


def compare(
    task_data: str,
    output: str,
    shots: int | Sequence[int] = (1, 5, 10, 25),
    seeds: int = 5,
    initializations: str | Sequence[str] = ("scratch", "classifier", "doll_backbone", "doll"),
    tunings: str | Sequence[str] = ("full",),
    bundle: str = "lung_cxr_segmentation",
    task: str | None = None,
    classes: str | Sequence[str] | None = None,
    pretrained: str | None = None,
    classifier: str | None = None,
    member: int | None = None,
    network: str | None = None,
    image_size: int | Sequence[int] | None = None,
    iterations: int = 200,
    batch_size: int = 8,
    test_data: str | None = None,
    test_classes: str | Sequence[str] | None = None,
    cell_values: str | None = None,
    fold: str | None = None,
    tracking_uri: str | None = None,
    quiet: bool = False,
    **values: Any,
) -> None:
    """Train every initialization with every tuning on a few images, score each image of the others, with intervals.

    Images are split by patient by a hash; test images are never learnt from or chosen on. Each cell is two runs of the
    task's bundle. After an interruption the same command continues; a later one may add shots, initializations and
    tunings to the same output. Look first at comparison.md there.

    Args:
        task_data: folder with index.csv: images (image), masks, and patients (patient) where they are known.
        output: folder for everything that is made.
        shots: numbers of annotated images, with commas between.
        seeds: number of seeds, from 0; a seed draws the shots, the order, the augmentation and the fresh weights.
        initializations: scratch, classifier (its backbone), doll_backbone, doll (all but the head), and NAME=FILE:
            another checkpoint, of a ResNet in torchvision's names (backbone) or of a segmentation network (all but the
            head; the backbone where NAME ends in _backbone).
        tunings: of the bundle's network, such as full, adapter, head.
        bundle: the task's bundle.
        task: name of the task in the tables; the name of task_data by default.
        classes: name=column+column,name=column; by default the bundle's classes, each the column of its name.
        pretrained: the segmentation network that was pre-trained on DoLLs.
        classifier: the classifier's model.pt, or the committee's with --member.
        member: number of the committee's member.
        network: JSON file with network_def or parts of it, such as {"network_def::network::backbone": {...}}.
        image_size: one number or two; the bundle's own by default.
        iterations: of every training; a multiple of 20, or fewer.
        batch_size: of every training; images are repeated where there are fewer.
        test_data: folder like task_data with images from elsewhere, which are scored as well.
        test_classes: its classes, as in classes; by default those of the task that it has columns of.
        cell_values: JSON file, INITIALIZATION/TUNING (* is anything) to values of those cells alone, such as
            {"*/lora": {"learning_rate": 0.003}}.
        fold: images with this value in the column fold of index.csv are for test, and no others.
        tracking_uri: of MLflow; SQLite in output by default.
        quiet: show no progress.
        values: any value of the bundle for all cells, such as learning_rate.
    """
    counts, names = list_argument(shots), list_argument(tunings)
    size = [] if image_size is None else list_argument(image_size)
    numbers = {"seeds": [seeds], "iterations": [iterations], "batch_size": [batch_size]}
    for name, given in {**numbers, "shots": counts, "image_size": size}.items():
        for number in given:
            if type(number) is not int or number < 1:
                raise InputError(f"{name} must be a whole number of at least 1, not {number}.")
    for name, given in (("shots", counts), ("tunings", names)):
        if not given or len(set(given)) < len(given):
            raise InputError(f"{name} must be different ones, not {','.join(map(str, given))}.")
    epochs(iterations)
    cells_file = path_argument(cell_values)
    patterns = {} if cells_file is None else read_json_object(cells_file)
    for pattern, own in patterns.items():
        if "/" not in pattern or not isinstance(own, dict):
            example = '{"*/full": {"learning_rate": 0.001}}'
            raise InputError(f"{cells_file}: '{pattern}' cannot be read; write objects of values, such as {example}.")
    sizes = {"batch_size": batch_size} | ({"image_size": size * 2 if len(size) == 1 else size} if size else {})
    setup = TaskBundle(bundle, path_argument(network), values | sizes, patterns)

    folder = Path(str(task_data)).resolve()
    data = read_images(folder, mask_columns(folder, classes, setup.classes))
    setup.classes = list(data.columns)
    sections = sections_of(data.images, fold)
    first_shots(sections["training"], max(counts), 0)
    elsewhere = None if test_data is None else _elsewhere(Path(str(test_data)).resolve(), test_classes, setup.classes)
    apart = {name: (folder, images) for name, images in sections.items()}
    check_apart(apart | ({ELSEWHERE: (elsewhere.folder, elsewhere.images)} if elsewhere else {}))
    checkpoints = path_argument(pretrained), path_argument(classifier)
    initial = parse_initializations(list_argument(initializations), *checkpoints, member)
    for cell in grid(list(initial), names, counts[:1], 1):  # each network once, so that mistakes are seen here
        setup.build(cell)
        setup.initialized(initial[cell.initialization], cell)
    cells = grid(list(initial), names, counts, seeds)
    whole = Path(str(output)).resolve()
    plan = Plan(whole, str(task or folder.name), setup, data, sections, elsewhere, initial, cells, iterations, fold)
    print(Comparison(plan, tracking_uri, quiet).run())


def _elsewhere(folder: Path, classes: str | Sequence[str] | None, known: Sequence[str]) -> ImageTable:
    """The images from elsewhere, with some of the task's classes."""
    columns = mask_columns(folder, classes, known, some=True)
    unknown = sorted(set(columns) - set(known))
    if unknown:
        raise InputError(f"The class {unknown[0]} of test_classes is none of: {', '.join(known)}.")
    return read_images(folder, columns)
