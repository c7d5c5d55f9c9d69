"""How many of each thing a data set has, beside the number that its owner published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Count:
    """One number of a data set.

    Attributes:
        what: what is counted, in a few words.
        found: how many there are on disk.
        published: how many there should be; None where no number is published.
    """

    what: str
    found: int
    published: int | None = None

    @property
    def differs(self) -> bool:
        """Whether a number is published and another one was found."""
        return self.published is not None and self.found != self.published


def count_table(counts: Sequence[Count]) -> str:
    """Found and published numbers, a line each, with a header."""
    width = max(28, *(len(count.what) for count in counts)) if counts else 28
    lines = [f"{'':{width}}{'found':>12}{'published':>12}"]
    for count in counts:
        published = "-" if count.published is None else f"{count.published:,}"
        mark = "  differs" if count.differs else ""
        lines.append(f"{count.what:{width}}{count.found:>12,}{published:>12}{mark}")
    return "\n".join(lines)


def count_warning(counts: Sequence[Count]) -> str | None:
    """One line on the numbers that differ, None when none does: a part of a data set is fine, if that is meant."""
    different = [count for count in counts if count.differs]
    if not different:
        return None
    first = different[0]
    return (
        f"{len(different)} of {sum(count.published is not None for count in counts)} published numbers differ, such as "
        f"{first.what}: {first.found:,} found, {first.published:,} published; go on if a part is meant, else look for "
        "what was not downloaded or unpacked."
    )
