"""All stages in a row: each an ordinary command whose inputs and outputs are files."""

from doll_tools.pipeline.plan import plan
from doll_tools.pipeline.runner import Runner
from doll_tools.pipeline.stages import Stage

__all__ = ["Runner", "Stage", "plan"]
