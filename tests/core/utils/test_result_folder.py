"""A folder is for one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from doll_monai.utils.errors import InputError
from doll_monai.utils.folder import lock_folder

HOLD = """
import sys, time
from doll_monai.utils.folder import lock_folder
file = lock_folder(sys.argv[1], "training")
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_another_process_is_kept_out_until_the_first_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "new")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=r"Another training is at work in .*new; wait for it"):
            lock_folder(tmp_path / "new", "training")
        with lock_folder(tmp_path / "new", "pipeline"):
            pass
        holder.kill()
    with lock_folder(tmp_path / "new", "training"), lock_folder(tmp_path / "new", "training"):
        pass  # a process is not kept out by itself


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        lock_folder(tmp_path / "file", "training")
