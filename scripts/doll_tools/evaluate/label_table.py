"""``doll evaluate table``: several ways to make labels, each with one row of localization scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from doll_monai.data.ground_truth import patient_of
from doll_monai.handlers.localization import CONSENSUS, LOCATION_PRIOR
from doll_monai.utils.atomic import write_atomic
from doll_monai.utils.errors import InputError
from doll_tools.arguments import list_argument
from doll_tools.evaluate.summary import PAIR
from doll_tools.intervals import crossed_interval

SHARES = {"iou05": 0.05, "iou10": 0.1, "iou15": 0.15}
"""Columns of the table, and the share of the image that is foreground."""
COLUMNS = (*("data", "method", *SHARES, "hit", "low", "high"), *("minus_prior", "minus_prior_low", "minus_prior_high"))


def write_label_table(data: str, tables: str | Sequence[str], output: str) -> None:
    """Write labels.csv: IoU at three shares of the image, hits, and the paired difference to the location prior.

    ``low`` and ``high`` are the ends of the 95 % interval of ``iou10`` over patients. Rows of other data in an output
    that exists are kept.

    Args:
        data: name of the data set in the table.
        tables: METHOD=FILE with commas between: a localization.csv of the label bundle's evaluate.json, and after a
            colon its source, if that is not the consensus (gradcam, location_prior, member_0).
        output: CSV file to write.
    """
    rows = []
    for entry in list_argument(tables):
        method, _, place = str(entry).partition("=")
        file, _, source = place.rpartition(":") if ":" in place else (place, "", CONSENSUS)
        if not Path(file).is_file():
            raise InputError(f"{file or entry} does not exist; write METHOD=FILE, FILE a localization.csv.")
        rows.append({"data": data, "method": method, **scores(pd.read_csv(file), source, file)})
    table = pd.DataFrame(rows, columns=list(COLUMNS)).round(4)
    path = Path(output)
    if path.is_file():
        known = pd.read_csv(path)
        table = pd.concat([known[known["data"] != data], table])
    write_atomic(path, table.to_csv(index=False).encode())
    print(table.to_string(index=False))


def scores(table: pd.DataFrame, source: str, where: str) -> dict[str, float]:
    """A row but for ``data`` and ``method``, of a source; an ``InputError`` where the table lacks its shares."""
    found = {}
    for name in (source, LOCATION_PRIOR):
        part = table[table["source"] == name]
        for column, share in SHARES.items():
            at = part[np.isclose(part["share"], share)].set_index(PAIR)
            if name == source and at.empty:
                raise InputError(f"{where} has no source {source} at a share of {share}.")
            found[name, column] = at
    own = found[source, "iou10"]
    patients = [patient_of(image) for image, _ in own.index]
    _, low, high = crossed_interval(own["iou"], patients)
    prior = found[LOCATION_PRIOR, "iou10"]["iou"].reindex(own.index)
    difference = crossed_interval(own["iou"] - prior, patients)
    return {
        **{column: float(found[source, column]["iou"].mean()) for column in SHARES},
        **{"hit": float(own["hit"].mean()), "low": low, "high": high},
        **dict(zip(COLUMNS[-3:], difference, strict=True)),
    }
