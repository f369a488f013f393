"""The errors that a user can cause or meet: a message always names the value, the rule and the fix."""

from __future__ import annotations

import itertools
import os
import reprlib
import traceback
import unicodedata
from collections.abc import Iterable

from ray_mentor.wording import as_said_here, foreign, in_python


class UserError(ValueError):
    """A mistake in what the user asked for (an option, a column, a file): exit code 2, no traceback.

    Its message is written with options, ``--run-name``; where no command runs it is said with fields, ``run_name``.
    """

    def __str__(self) -> str:
        return as_said_here(self.written)

    @property
    def written(self) -> str:
        """The message as it was written, for another process or a file."""
        return super().__str__()

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it: the user's own line, and what is wrong with it, in Python's words."""
        notes = getattr(self, "__notes__", ())
        frames = traceback.extract_tb(self.__traceback__)
        own = [frame for frame in frames if frame.line and not _is_installed(frame.filename)]
        where = [f"line {own[-1].lineno}: {own[-1].line}"] if own else []
        return [*where, *(printable(in_python(line)) for line in (f"{type(self).__name__}: {self}", *notes))]


def said_by_others(error: BaseException) -> str:
    """The text of an error that any code may have raised, to be built into a message of ours."""
    return error.written if isinstance(error, UserError) else foreign(str(error))


def _is_installed(file: str) -> bool:
    """Whether a source file is ours, Python's or of another package; notebooks' cells and users' modules aren't."""
    homes = (os.path.dirname(__file__), os.path.dirname(os.__file__))
    return file.startswith(tuple(home + os.sep for home in homes)) or "site-packages" in file


class NoTrustedSamplesError(UserError):
    """A run without trusted samples that can't do without."""


class RunStoppedError(Exception):
    """Whoever watches over a run has ended it at the end of an epoch; it can go on from its newest checkpoint."""


class StoppedByUser(KeyboardInterrupt):
    """Ctrl-C, in a run or sweep that can go on.

    Attributes:
        saved: what was saved of it.
        run_name: its name, by which it goes on.
    """

    def __init__(self, saved: str, run_name: str) -> None:
        super().__init__(f"{saved}; to go on: run_name={run_name!r}, resume=True")
        self.saved = saved
        self.run_name = run_name


class NonFiniteLossError(UserError):
    """A per-sample loss was NaN or infinite; raised before the update that would have spread it."""


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = _SHORT.maxfrozenset = 20
_SHORT.maxlevel = 2  # a value of many levels would still be long: 20 items of 20 items of ...


def shown(value: object) -> str:
    """``repr(value)``, cut short where it is long: a value may be as large as whoever wrote it likes."""
    return _SHORT.repr(value)


def listed(names: Iterable[str], most: int = 50) -> str:
    """Names joined by commas; ``most`` of them, each cut short where it is long."""
    first = list(itertools.islice(names, most + 1))
    short = [name if len(name) <= _LONG else f"{name[:_LONG]}..." for name in first[:most]]
    return ", ".join(short) + (", ..." if len(first) > most else "")


_LONG = 100  # characters of a name


def printable(text: str) -> str:
    """``text`` with its control characters written out, so that a name in a data file can't steer a terminal."""
    return "".join(_escaped(character) if _is_control(character) else character for character in text)


def _is_control(character: str) -> bool:
    """Control and format characters (those that turn the direction of text, too) and halves of surrogate pairs."""
    return character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cf", "Cs")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


class MentorLostError(UserError):
    """The run's mentor actor is gone and cannot be brought back; the run ends, its checkpoints stay."""


def one_of(value: str, valid: Iterable[str], what: str) -> str:
    """Returns ``value`` if it is among ``valid``.

    Raises:
        UserError: if it is not; the message lists the valid names.
    """
    names = list(valid)
    if value not in names:
        raise UserError(f"unknown {what} {shown(value)}; valid: {', '.join(names)}")
    return value
