"""One's own table of findings: whose images are where."""

from __future__ import annotations

from pathlib import Path

import pytest
from preparing import picture

from doll_monai.utils.errors import InputError
from doll_tools.prepare.own_table import prepare_table


def _table(folder: Path, header: str, rows: list[str]) -> Path:
    for row in rows:
        picture(folder / row.split(",")[0])
    (folder / "findings.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "findings.csv"


def test_a_patient_in_two_sections_is_refused(tmp_path: Path) -> None:
    table = _table(tmp_path, "image,Edema,patient,section", ["a.png,1,p1,training", "b.png,0,p1,test"])
    with pytest.raises(InputError, match="1 patients are in several sections, such as p1"):
        prepare_table(tmp_path, table)


def test_patient_and_section_are_known_in_any_case(tmp_path: Path) -> None:
    rows = ["a.png,1,p1,training", "b.png,0,p1,training", "c.png,1,p2,validation", "d.png,0,p3,test"]
    found = prepare_table(tmp_path, _table(tmp_path, "image,Edema,Patient,Section", rows))
    assert [image.section for image in found.images] == ["training", "training", "validation", "test"]
    assert not found.notes
