"""Are a bundle's configuration and the values given for it right? Said in a sentence, before anything runs."""

from .command import check_command
from .configuration import check_configuration
from .values import check_values

__all__ = ["check_command", "check_configuration", "check_values"]
