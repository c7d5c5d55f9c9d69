"""Every page has what its reader looks for, and every link of it leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from narrow import BUNDLES, ROOT

PAGES = [ROOT / "README.md", *(bundle / "docs" / "README.md" for bundle in BUNDLES)]
SECTIONS = ("Data", "Use", "Input and output", "Limits and intended use")


def _anchors(page: Path) -> set[str]:
    """Addresses of the headings, as Markdown viewers make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.parent.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    inside = [link for link in links if not link.startswith("http")]
    assert inside
    for link in inside:
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), link
        assert not anchor or anchor in _anchors(target), link


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
def test_a_bundle_says_what_it_does_shows_it_and_says_how_well(bundle: Path) -> None:
    text = (bundle / "docs" / "README.md").read_text()
    assert [section for section in SECTIONS if f"\n## {section}\n" not in text] == []
    first, picture = text.split("\n\n")[1:3]
    assert first.count(". ") <= 1
    assert re.fullmatch(r"!\[.+\]\(\w+\.png\)", picture)
    assert re.search(r"20\d\d-\d\d-\d\d", text), "scores have a date"
    assert "multi_gpu_train.json" in text or "torchrun" in text
    for command in ("ckpt_export", "onnx_export", "inference.json", "evaluate.json"):
        assert command in text
    assert re.search(r"same command\s+continues|continues\s+an interrupted", text)
    assert (bundle / "docs" / "data_license.txt").is_file()
