"""Who may write in a run directory: the last one that took it up, and nobody who did before.

A driver takes a run up, and each of its groups of workers makes an attempt at it. All that they write, they write
under names of their own (a checkpoint names the files that count) or into files that one after the other replaces;
before a file appears under its name, they look whether the run is still theirs.

**On a file system that renames**, what a writer writes begins in a folder of its own, ``.writing-OWNER`` or
``.writing-OWNER-ATTEMPT``, and is moved from there to its name. To *revoke* a writer is to rename this folder: whatever
it is in the middle of, its next rename fails, and it never makes the folder again. Each id begins with a generation,
one more than any that its process found; where two find the same, the random rest decides, so ids have an order. Who
takes a run up goes through these steps, and may stop for any time between any two:

1. *Look*: list the folders, read the claim (the file that names the owner), choose an id above all of them.
2. *Enter*: make the folder.
3. *Yield* if there is a folder of a higher id by now; then, if the claim is of as high a generation. To yield is to
   remove the own folder, before anybody was revoked.
4. *Revoke* all lower ids, until a list shows none.
5. *Claim*: move the claim's file from the own folder to its name.

An attempt goes through the same among the attempts of its owner, but for its step 3: it yields if its owner's own
folder is gone, if there is a higher attempt of this owner, or if the claim names another owner or as new an attempt; it
revokes lower attempts of its owner, and all lower owners.

*Who revokes whom*: the higher the lower, past step 3 alone. One that looked before another one entered has no higher
generation than that; if it has the same, it yields to the other's claim at step 3. So a writer is revoked by one that
looked when it had entered, or by one that started at the same moment and was past step 3 before it claimed; and who
has revoked another one goes on to claim, or is revoked by one that does.

*No sleeper writes after another's claim.* Let X have claimed, and S be lower. If S entered before the last list of
X's step 4, X revoked S before it claimed, and what S moves fails. If S entered later, then X was there when S listed,
and S yielded; unless X's folder was gone by then: because X had released the run, after its claim, which S reads after
its list; or because a higher one revoked it, of which the same holds. S's attempts: one that entered before that last
list was revoked; one that entered later found its owner's folder gone, since X had renamed it. If S is of the higher id
instead, but has not claimed, it yields, or claims after X has been revoked: then it is X that adds nothing.

*Of any number that start, at least one gets the run*, unless one dies or sleeps between step 2 and step 5. Of those
that pass step 3, the highest is revoked by nobody, and claims. Somebody passes: the highest of all that entered finds
no higher folder, so that it passes, or yields to a claim, which somebody made that had passed. One that dies there can
keep those from the run that are starting at that moment, but nobody that looks later, who outranks it.

**An object store** has no such means: steps 2 and 4 are left out. What is on its way while the run changes hands does
arrive, under the name of a file that does not count any more; of the few files that have one name for all attempts
(config, metrics, result) it could be an old one's for want of a better way.
"""

from __future__ import annotations

import json
import posixpath
import re
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import pyarrow.fs
from typing_extensions import override

from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.errors import UserError
from ray_mentor.run.directory import CHECKPOINTS, CLAIM, RunDirectory, usable

_WRITING, _REVOKED = ".writing", ".revoked"
_MOST_BYTES = 1 << 20
_ID = re.compile("[0-3][0-9a-f]{15}")  # 62 bits, which a tensor of int64 holds: a generation in 22, then chance
_FOLDER = re.compile(rf"\{_WRITING}-({_ID.pattern})(?:-({_ID.pattern}))?")


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
        """Another attempt of this owner's, from whose claim on no earlier one can write.

        Raises:
            UserError: the run is somebody else's by now.
        """
        attempts = [attempt for owner, attempt in _writers(self).values() if owner == self.owner]
        made = ClaimedDirectory(self, self.owner, _new_id(above=(*attempts, *Claim.on(self).attempts)))
        self.permit()
        made._enter()
        return made

    def release(self) -> None:
        """For the end of a run: removes the folders in which what this owner writes begins, or a lower one's did."""
        if not self.is_in_object_store:
            self._revoke(lambda writer: writer[0] <= self.owner)

    @override
    def remove(self, name: str) -> None:
        if self.size(name) is None:
            return
        try:
            if self.is_in_object_store:
                self.permit()
                super().remove(name)
            else:
                self._files.move(self._at(name), self._partial(name))
                self._files.delete_file(self._partial(name))
        except OSError as error:
            self._check_still_ours()
            raise UserError(
                f"{self.path}/{name} cannot be removed ({error}); mend it, and go on with --resume"
            ) from error

    def _enter(self) -> None:
        """Steps 2 to 5: makes the run this writer's, or leaves it as it is."""
        renames = not self.is_in_object_store
        if renames:
            self.create((self._folder,))
        try:
            if (renames and self._is_outranked(set(_writers(self).values()))) or self._is_late(Claim.on(self)):
                raise self._taken()
            if renames:
                self._revoke(lambda writer: writer < self._writer and writer != (self.owner, ""))
            own = (self.attempt,) if self.attempt else ()
            claim = Claim(self.owner, own + _alive(self)).to_bytes()
            self._put(CLAIM, lambda sink: sink.write(claim), permit=lambda: None)
        except OSError as error:
            self._check_folder()
            raise UserError(f"the run directory {self.path} cannot be used ({error}); check --storage-path") from error
        except UserError:
            if renames:
                with suppress(OSError):  # a higher one has moved it away
                    self._files.delete_dir(self._at(self._folder))
            raise

    @property
    def _writer(self) -> tuple[str, str]:
        return self.owner, self.attempt

    def _is_outranked(self, writers: set[tuple[str, str]]) -> bool:
        """Step 3, among the folders that are there."""
        if self.attempt:
            is_revoked = (self.owner, "") not in writers
            return is_revoked or any(owner == self.owner and attempt > self.attempt for owner, attempt in writers)
        return max(writers, default=self._writer) > self._writer

    def _is_late(self, claim: Claim) -> bool:
        """Step 3, by the claim; no claim at all is that of a folder which is gone, another trouble."""
        if not self.attempt:
            return _generation(claim.owner) >= _generation(self.owner)
        newest = claim.attempts[0] if claim.attempts else ""
        return claim != Claim() and (claim.owner != self.owner or _generation(newest) >= _generation(self.attempt))

    def _revoke(self, is_meant: Callable[[tuple[str, str]], bool]) -> None:
        """A rename, since a folder can't be removed at once: whoever writes in it could go on for a while."""
        while meant := [name for name, writer in _writers(self).items() if is_meant(writer)]:
            for name in meant:
                with usable(self.path), suppress(FileNotFoundError):  # another one did
                    self._files.move(self._at(name), self._at(f"{_REVOKED}-{uuid.uuid4().hex}"))
        for info in self.entries():
            if info.base_name.startswith(_REVOKED):
                with suppress(OSError):  # nobody finds it under the name that he knows, whether it goes or stays
                    self._files.delete_dir(self._at(info.base_name))

    @override
    def permit(self) -> None:
        found = Claim.on(self)
        if found == Claim():  # the whole folder may be gone, which is another trouble
            return
        if found.owner != self.owner or (self.attempt and found.attempts[:1] != (self.attempt,)):
            raise self._taken()

    @override
    def _check_still_ours(self) -> None:
        self.permit()
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


def taken_up(directory: RunDirectory, check: Callable[[], None] = lambda: None) -> ClaimedDirectory:
    """The run as its new driver's: whoever wrote in it before can add nothing more.

    Args:
        check: raises if what is there may not be taken up. Whoever claims the run after this began keeps it.

    Raises:
        UserError: a directory that can't be written in; a run that another process takes up at this moment.
    """
    owners = [owner for owner, _ in _writers(directory).values()]
    made = ClaimedDirectory(directory, _new_id(above=(*owners, Claim.on(directory).owner)))
    check()
    made._enter()
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


def _writers(directory: RunDirectory) -> dict[str, tuple[str, str]]:
    """The folders in which something is written: whose they are, owner and attempt; of an unknown one, nobody's."""
    names = [info.base_name for info in directory.entries() if info.base_name.startswith(_WRITING)]
    found = {name: _FOLDER.fullmatch(name) for name in names}
    return {name: (match[1], match[2] or "") if match else ("", "") for name, match in found.items()}


def _new_id(above: Iterable[str]) -> str:
    """One of a generation above these."""
    return f"{max(map(_generation, above), default=0) + 1:06x}{uuid.uuid4().hex[:10]}"


def _generation(identity: str) -> int:
    return int(identity[:6], 16) if _ID.fullmatch(identity) else 0
