"""All stages in a row: each an ordinary command whose inputs and outputs are files."""

from .runner import Runner
from .stages import Stage
from .street import plan

__all__ = ["Runner", "Stage", "plan"]
