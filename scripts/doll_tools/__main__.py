"""``python -m doll_tools COMMAND``, the same as ``doll COMMAND``."""

import sys

from doll_tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
