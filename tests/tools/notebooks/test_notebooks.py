"""The tutorials in ``docs/tutorials``: clean in git, and they run to their end on the phantom."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs" / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ORDER = ("3", "1", "2")
"""The third alone in an empty folder runs the first itself; the first then finds all of it done."""
STARTED_IN = {"1": ROOT, "2": FOLDER, "3": ROOT}
WRITTEN = (
    *(
        "images/train.csv",
        "dataset.json",
        "committee/committee.json",
        "committee/model.pt",
        "classification/committee/metrics.csv",
    ),
    *("labels/labels.csv", "labels/provenance.json", "labels/dataset.json", "pretraining/model.pt"),
    *("task/dataset.json", "lungs/adapter/model.pt", "lungs/adapter/adapter.pt", "lungs/pretrained/model.pt"),
    *("lungs/scratch/model.pt", "sources.csv", "steps.csv"),
)
FIGURES = {
    "1": ("images-picture", "pictures"),
    "2": ("task-picture", "pictures"),
    "3": ("recipe-picture", "source-picture", "steps-picture", "share-picture"),
}
"""Cells that show a figure."""

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@every_notebook
def test_it_is_clean_and_runs_anywhere(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert set(notebook.metadata.language_info) == {"name"}
    assert all(cell.metadata == {} for cell in notebook.cells)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code_cells(notebook))
    text = "\n".join(cell.source for cell in notebook.cells)
    assert re.findall(r"(?<![\w.})\]*'\"<])/\w+|[A-Z]:\\|file://|[\"'(]/\w+", text) == [], "an absolute path"


@every_notebook
def test_links_lead_somewhere(path: Path) -> None:
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)]
    assert [link for link in links if link and not (FOLDER / link).exists()] == []


@every_notebook
def test_every_figure_says_that_its_images_are_drawn(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    drawing = [cell for cell in code_cells(notebook) if re.search(r"image_grid\(|= Figure\(", cell.source)]
    assert drawing
    assert [cell.id for cell in drawing if "NOTE" not in cell.source] == []
    assert any("says nothing about patients" in cell.source for cell in code_cells(notebook))


@dataclass
class Executed:
    """What is left when all notebooks have run.

    Args:
        output: the folder that they wrote to.
        notebooks: the first character of the name to the notebook with its outputs.
    """

    output: Path
    notebooks: dict[str, NotebookNode]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executed]:
    output = tmp_path_factory.mktemp("with space")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOLL_MONAI_NOTEBOOKS", str(output))
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        done = {}
        for number in ORDER:
            (path,) = (path for path in NOTEBOOKS if path.name.startswith(number))
            done[number] = nbformat.read(path, as_version=4)
            resources = {"metadata": {"path": str(STARTED_IN[number])}}
            NotebookClient(done[number], timeout=900, kernel_name="python3", resources=resources).execute()
        yield Executed(output, done)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_files_are_where_the_text_says(executed: Executed) -> None:
    assert [name for name in WRITTEN if not (executed.output / name).is_file()] == []
    assert len(list((executed.output / "lungs" / "scratch" / "masks").rglob("*_lungs.nii.gz"))) == 3


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("number", FIGURES)
def test_figures_are_shown_once(executed: Executed, number: str) -> None:
    cells = code_cells(executed.notebooks[number])
    shown = {cell.id: sum("image/png" in output.get("data", {}) for output in cell.outputs) for cell in cells}
    assert {name: count for name, count in shown.items() if count} == dict.fromkeys(FIGURES[number], 1)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_there_is_something_to_explain(executed: Executed) -> None:
    """Classifiers that learnt nothing, or labels no better than pixels drawn by lot, would teach nothing."""
    auroc = pd.read_csv(executed.output / "classification/committee/metrics.csv", header=None, index_col=0)[1]["auroc"]
    assert auroc > 0.65
    iou = pd.read_csv(executed.output / "sources.csv", index_col="setting")["IoU"]
    assert iou["default"] > 1.5 * iou["chance"]
