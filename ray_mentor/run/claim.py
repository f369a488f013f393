"""Who may write in a run directory: the last one that took it up, and nobody who did before.

A driver takes a run up, and each of its groups of workers makes an attempt at it. All that they write, they write
under names of their own (a checkpoint names the files that count) or into files that one after the other replaces;
before a file appears under its name, they look whether the run is still theirs. On a file system that renames, what
they write begins in a folder of their own, which whoever takes the run up moves away first: whatever a process that was
thought dead is in the middle of, its next rename fails. An object store has no such means: there a file that is on its
way while the run changes hands does arrive, under the name of one that does not count any more; of the few files that
have one name for all attempts (config, metrics, result) it could be an old one's for want of a better way.
"""

from __future__ import annotations

import json
import posixpath
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pyarrow.fs
from typing_extensions import override

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.errors import UserError
from ray_mentor.run.directory import CHECKPOINTS, CLAIM, RunDirectory, usable

_WRITING, _REVOKED = ".writing", ".revoked"
_MOST_BYTES = 1 << 20
_ID = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True)
class Claim:
    """What the claim's file says.

    Attributes:
        owner: the driver that took the run up; empty if nobody did.
        attempts: of all owners so far, the newest first.
    """

    owner: str = ""
    attempts: tuple[str, ...] = ()

    @staticmethod
    def on(directory: RunDirectory) -> Claim:
        """The claim on a run; of owner "?" where it can't be read, which is nobody's."""
        found = directory.read(CLAIM, at_most=_MOST_BYTES)
        if found is None:
            return Claim()
        try:
            table = json.loads(found)
            return Claim(str(table["owner"]), tuple(filter(_ID.fullmatch, map(str, table["attempts"]))))
        except (ValueError, KeyError, TypeError, RecursionError):
            return Claim("?")

    def to_bytes(self) -> bytes:
        """The content of its file."""
        return json.dumps({"owner": self.owner, "attempts": self.attempts}).encode()


class ClaimedDirectory(RunDirectory):
    """A run directory that its owner's driver, or one attempt of its owner's, writes in.

    Attributes:
        owner: the driver's.
        attempt: 16 hexadecimal digits; empty for the driver itself.
    """

    def __init__(self, directory: RunDirectory, owner: str, attempt: str = "") -> None:
        self.path = directory.path
        self._root, self._files = directory.place("")
        self.owner, self.attempt = owner, attempt
        self._folder = "-".join(filter(None, (_WRITING, owner, attempt)))

    def attempted(self) -> ClaimedDirectory:
        """Another attempt of this owner's, from whose beginning no earlier one can write.

        Raises:
            UserError: the run is somebody else's by now.
        """
        self._permit()
        made = ClaimedDirectory(self, self.owner, _new_id())
        made._begin(beside=self._folder)
        self.write(CLAIM, Claim(self.owner, (made.attempt, *_alive(self))).to_bytes())
        return made

    def release(self) -> None:
        """For the end of a run: removes the folders in which what this owner writes begins."""
        self._revoke(lambda name: name.startswith(f"{_WRITING}-{self.owner}"))

    @override
    def remove(self, name: str) -> None:
        if self.size(name) is None:
            return
        try:
            if self.is_in_object_store:
                self._permit()
                super().remove(name)
            else:
                self._files.move(self._at(name), self._partial(name))
                self._files.delete_file(self._partial(name))
        except OSError as error:
            self._check_still_ours()
            raise UserError(
                f"{self.path}/{name} cannot be removed ({error}); mend it, and go on with --resume"
            ) from error

    def _take_up(self) -> None:
        """Makes the run this driver's, whosoever it was."""
        self._begin()
        claim = Claim(self.owner, _alive(self)).to_bytes()
        try:
            self._put(CLAIM, lambda sink: sink.write(claim), permit=lambda: None)
        except OSError as error:
            self._check_folder()
            raise UserError(f"the run directory {self.path} cannot be used ({error}); check --storage-path") from error

    def _begin(self, beside: str = "") -> None:
        """Makes the folder in which what is written begins; moves away those of all others, but for one."""
        if self.is_in_object_store:
            return
        self.create((self._folder,))
        self._revoke(lambda name: name not in (self._folder, beside))

    def _revoke(self, is_meant: Callable[[str], bool]) -> None:
        """A rename, since a folder can't be removed at once: whoever writes in it could go on for a while."""
        for info in self._within(""):
            name = info.base_name
            if name.startswith(_WRITING) and is_meant(name):
                with usable(self.path), suppress(FileNotFoundError):  # another one did
                    self._files.move(self._at(name), self._at(f"{_REVOKED}-{_new_id()}"))
        for info in self._within(""):
            if info.base_name.startswith(_REVOKED):
                with suppress(OSError):  # nobody finds it under the name that he knows, whether it goes or stays
                    self._files.delete_dir(self._at(info.base_name))

    @override
    def _permit(self) -> None:
        found = Claim.on(self)
        if found == Claim():  # the whole folder may be gone, which is another trouble
            return
        if found.owner != self.owner or (self.attempt and found.attempts[:1] != (self.attempt,)):
            raise self._taken()

    @override
    def _check_still_ours(self) -> None:
        self._permit()
        if not self.is_in_object_store:
            self._check_folder()

    def _check_folder(self) -> None:
        run, folder = self._files.get_file_info([self._root, self._at(self._folder)])
        gone = pyarrow.fs.FileType.NotFound
        if run.type != gone and folder.type == gone:
            raise self._taken()

    def _taken(self) -> UserError:
        return UserError(f"another process has taken up the run {self.path}; this one stops")

    @override
    def _partial(self, name: str) -> str:
        return posixpath.join(self._root, self._folder, f".{name.replace('/', '-')}.partial")


def taken_up(directory: RunDirectory) -> ClaimedDirectory:
    """The run as its new driver's: whoever wrote in it before can add nothing more.

    Raises:
        UserError: a directory that can't be written in.
    """
    made = ClaimedDirectory(directory, _new_id())
    made._take_up()
    return made


def attempted(directory: RunDirectory, exchange: AbstractExchange, owner: str = "") -> ClaimedDirectory:
    """The run as that of these ranks, who make an attempt of the owner's. A collective call.

    Args:
        owner: a driver that has taken the run up; empty: rank 0 does.

    Raises:
        UserError: the run is another owner's.
    """
    made = None
    if exchange.rank == 0:
        made = (ClaimedDirectory(directory, owner) if owner else taken_up(directory)).attempted()
    owner, attempt = exchange.broadcast([made.owner, made.attempt] if made else None)
    return made or ClaimedDirectory(directory, owner, attempt)


def _alive(directory: RunDirectory) -> tuple[str, ...]:
    """The earlier attempts that have left a checkpoint."""
    names = directory.names(CHECKPOINTS)
    return tuple(one for one in Claim.on(directory).attempts if any(name.endswith(f"-{one}.pt") for name in names))


def _new_id() -> str:
    """A random number of 62 bits, which a tensor of int64 holds."""
    return f"{uuid.uuid4().int >> 66:016x}"
