"""What do a few annotated images bring over several tasks? Comparisons of one task each, in one table with the aims.

Example:
    doll compare summarize --output bundles/doll_cxr_segmentation/docs \
--comparisons output/comparison/lungs_heart,output/comparison/lungs,output/comparison/infection

The folders are outputs of compare_initializations.py. It writes few_shot.csv (a row a task, cell, class and split, all
shots), aims.csv (each aim with its measured difference and interval) and few_shot.md, the page to look at. Another
pre-trained network is summarized by the name that it has in the comparisons: --doll NAME --doll_backbone NAME_backbone.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from doll_monai.utils.errors import InputError

REAL = "real images"


def summarize_comparisons(
    comparisons: str | Sequence[str],
    output: str,
    shots: int = 5,
    doll: str = "doll",
    classifier: str = "classifier",
    doll_backbone: str = "doll_backbone",
    scratch: str = "scratch",
    images: str = REAL,
) -> None:
    """Write few_shot.csv, aims.csv and few_shot.md.

    Args:
        comparisons: folders that compare_initializations wrote into, one a task, with commas between.
        output: folder for the files.
        shots: number of annotated images of the aims.
        doll, classifier, doll_backbone, scratch: the initializations by their names in the comparisons.
        images: what the page calls the images.
    """
    from doll_tools.compare.aims import Names
    from doll_tools.compare.few_shot import summarize_tasks

    if isinstance(shots, bool) or not isinstance(shots, int):
        raise InputError(f"shots must be one number of images, not {shots}.")
    folders = comparisons.split(",") if isinstance(comparisons, str) else list(map(str, comparisons))
    names = Names(str(doll), str(classifier), str(doll_backbone), str(scratch))
    options = {
        "comparisons": ",".join(map(_shown, folders)),
        "output": _shown(output),
        "shots": shots,
        **{option: name for option, name in vars(names).items() if name != getattr(Names(), option)},
        **({} if images == REAL else {"images": images}),
    }
    command = shlex.join(["python", "scripts/summarize_comparisons.py", *_options(options)])
    today = datetime.now(timezone.utc).date().isoformat()
    print(
        summarize_tasks([Path(folder) for folder in folders], Path(output), names, shots, command, today, str(images))
    )


def _options(values: dict[str, object]) -> list[str]:
    return [text for name, value in values.items() for text in (f"--{name}", str(value))]


def _shown(path: str) -> str:
    """A path as the page shows it: from the present folder, or its last part where it lies elsewhere."""
    full, here = Path(path).resolve(), Path.cwd()
    return full.relative_to(here).as_posix() if full.is_relative_to(here) else full.name
