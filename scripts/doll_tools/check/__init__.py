"""Are a bundle's configuration and the values given for it right? Said in a sentence, before anything runs."""

from doll_tools.check.command import check_command
from doll_tools.check.configuration import check_configuration
from doll_tools.check.values import check_values

__all__ = ["check_command", "check_configuration", "check_values"]
