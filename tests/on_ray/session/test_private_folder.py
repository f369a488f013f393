"""The files of a run's own Ray, sockets among them, with another user's eyes; and that nothing of them stays."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from interruptible import interruptible
from sockets import below

from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.folder import private_folder
from ray_mentor.on_ray.session.internals import of_ray

ROOT = Path(__file__).parents[3]
NOBODY = 65534

STARTS = """
import sys
import ray
from ray_mentor.on_ray.session.growth import Needs
from ray_mentor.on_ray.session.session import ray_session

@ray.remote(num_cpus=0)
def runtime_resources():
    return ray.get_runtime_context().get_runtime_env_string()

with ray_session(Needs({"CPU": 1.0}), verbose=False):
    ray.get(runtime_resources.remote())
    print("ready", flush=True)
    sys.stdin.read()
"""

LOOKS = """
import os, sys
root = sys.argv[1]
os.setgroups([])
os.setuid(65534)

def may(what, *arguments):
    try:
        what(*arguments)
    except OSError:
        return False
    return True

found = [os.path.join(root, name) for name in os.listdir(root)]
for folder, folders, files in os.walk(root):
    found += [os.path.join(folder, name) for name in folders + files]
inside = [path for path in found if os.path.dirname(path) != root]
for path in sys.argv[2:]:
    if may(os.listdir, path): inside.append("lists " + path)
    if may(open, path): inside.append("reads " + path)
    if may(open, os.path.join(path, "new"), "x"): inside.append("writes in " + path)
    if may(os.rename, path, path + ".away"): inside.append("renames " + path)
print("\\n".join(inside))
"""


@pytest.fixture
def parent() -> Iterator[Path]:
    """What /tmp is to everyone; short, since sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="rm", dir="/tmp"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def start(parent: Path) -> subprocess.Popen[bytes]:
    """A process that has started a Ray of its own, and keeps it until its input ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TMPDIR"))}
    private = {"HOME": str(parent / "home"), "RAY_TMPDIR": str(parent), "PYTHONPATH": str(ROOT)}
    (parent / "home").mkdir(mode=0o700, exist_ok=True)
    with interruptible():
        process = subprocess.Popen(
            [sys.executable, "-c", STARTS], env={**environment, **private}, cwd=parent / "home",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    for pid in below(process.pid) if process.poll() is None else ():
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)


def folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.name != "home"]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="becomes another user, as root alone can")
def test_no_other_user_sees_anything_of_it_and_nothing_stays(parent: Path) -> None:
    killed = start(parent)
    try:
        (folder,) = folders(parent)
        everything = sorted(folder.rglob("*"))
        sockets = [path for path in everything if stat.S_ISSOCK(path.lstat().st_mode)]
        assert {"raylet", "plasma_store", "dash_TrainHead"} <= {path.name for path in sockets}
        assert {"gcs_server.out", "runtime_resources", ".ray_mentor"} <= {path.name for path in everything}
        longest = max(len(str(path.relative_to(folder / "r"))) for path in sockets)
        assert longest + 1 <= of_ray.LONGEST_SOCKET

        seen = subprocess.run(
            [sys.executable, "-c", LOOKS, str(parent), str(folder), *map(str, everything)],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert seen.stdout.strip() == ""
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        killed.kill()
        killed.wait(60)
        assert folder.exists()
    finally:
        end(killed)
    time.sleep(1.0)  # what Ray started ends with its driver, by the kernel

    ended = start(parent)
    try:
        (second,) = folders(parent)
        assert second != folder, "what the killed one left is gone"
        ended.communicate(timeout=60)
        assert ended.returncode == 0
        assert folders(parent) == []
    finally:
        end(ended)


def test_one_that_is_alive_is_let_be(parent: Path) -> None:
    with private_folder(str(parent)) as first:
        Path(first).mkdir()
        with private_folder(str(parent)) as second:
            assert Path(first).exists()
            assert Path(first).parent != Path(second).parent
        assert folders(parent) == [Path(first).parent]
    assert folders(parent) == []


def test_folders_that_are_no_rays_are_let_be(parent: Path) -> None:
    (parent / "rm-mine").mkdir()
    (parent / "rm-mine/.ray_mentor.txt").write_text("a user's")
    (parent / "rm-link").symlink_to(parent / "rm-mine")
    with private_folder(str(parent)):
        pass
    assert (parent / "rm-mine/.ray_mentor.txt").exists()


def test_a_folder_whose_sockets_would_have_too_long_paths(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 50)
    long.mkdir()
    with pytest.raises(UserError) as raised, private_folder(str(long)):
        pass
    assert str(raised.value) == (
        f"the folder for Ray's files is {long}, whose name has {len(str(long))} bytes, but the sockets in it leave "
        f"room for {21 if sys.platform == 'darwin' else 25}; name a shorter one with RAY_TMPDIR, e.g. /tmp"
    )
    assert list(long.iterdir()) == []


def test_a_folder_in_which_others_could_put_one_of_theirs(parent: Path) -> None:
    parent.chmod(0o777)
    below_it = parent / "mine"
    below_it.mkdir(mode=0o700)
    for folder in (parent, below_it):
        with pytest.raises(UserError) as raised, private_folder(str(folder)):
            pass
        assert str(raised.value) == (
            f"the folder for Ray's files is {folder}, but every user may rename what is in {parent} (its mode is "
            "0777), and so put a Ray of theirs in the place of ours; set its sticky bit (chmod +t), or name another "
            "with RAY_TMPDIR"
        )


def test_a_folder_that_is_not_there(parent: Path) -> None:
    no = parent / "no"
    rule = r"can't be looked at \(No such file or directory\); name another with RAY_TMPDIR"
    with pytest.raises(UserError, match=rule), private_folder(str(no)):
        pass


@pytest.mark.parametrize("what", ["folder", "lock"])
def test_somebody_has_removed_it_meanwhile(what: str) -> None:
    """The run's work is done by then, and is not lost by it."""
    with tempfile.TemporaryDirectory(prefix="rm", dir="/tmp") as parent:
        Path(parent).chmod(0o1777)
        began = time.monotonic()
        with private_folder(parent) as folder:
            if what == "folder":
                shutil.rmtree(Path(folder).parent)
            else:
                (Path(folder).parent / ".ray_mentor").unlink()
        assert not list(Path(parent).iterdir())
        assert time.monotonic() - began < 1.0, "nothing is waited for"
