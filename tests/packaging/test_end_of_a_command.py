"""A command's process ends at once when it is done, but for what waits to be called then, and says all it said."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.long

CODE = """
import atexit, sys, threading, time
{before}
import ray_mentor.__main__ as started
started.main = lambda: {does}
sys.exit(started.command())
"""


def ended(does: str, before: str = "") -> subprocess.CompletedProcess[str]:
    code = CODE.format(before=before, does=does)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_with_its_code_and_all_that_it_said() -> None:
    done = ended("[print('said'), print('to whom', file=sys.stderr), 2][-1]")
    assert (done.returncode, done.stdout, done.stderr) == (2, "said\n", "to whom\n")


def test_after_threads_and_whoever_wants_to_be_called() -> None:
    later = "threading.Thread(target=lambda: [time.sleep(0.3), print('thread')]).start()"
    done = ended(f"[atexit.register(print, 'at the end'), {later}, 0][-1]")
    assert (done.returncode, done.stdout) == (0, "thread\nat the end\n")


def test_nothing_is_taken_apart() -> None:
    """What Python does to modules and objects at the end of a process."""
    done = ended("0", "class Last:\n    def __del__(self): print('taken apart', flush=True)\nlast = Last()")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(("raised", "code"), [("SystemExit(3)", 3), ("ValueError('x')", 1)])
def test_what_is_raised_ends_it_as_ever(raised: str, code: int) -> None:
    done = ended(f"(_ for _ in ()).throw({raised})")
    assert done.returncode == code
    assert ("Traceback" in done.stderr) == (code == 1)


def test_whose_reader_has_gone() -> None:
    code = CODE.format(before="", does="[print('x' * 100), 0][-1]")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_a_thread_that_never_ends_of_itself_but_is_a_daemon_holds_nothing_up() -> None:
    began = time.monotonic()
    assert ended("[threading.Thread(target=time.sleep, args=(50,), daemon=True).start(), 0][-1]").returncode == 0
    assert time.monotonic() - began < 40
