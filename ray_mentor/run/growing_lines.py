"""A file that grows by a line at a time, on any file system that pyarrow knows."""

from __future__ import annotations

import re
import time

import pyarrow as pa

from ray_mentor.errors import UserError
from ray_mentor.run.directory import RunDirectory

MOST_BYTES = 1 << 30
"""What is larger was not written here, and is not read."""

_LONGEST_WAIT = 30.0  # seconds that a line waits for others, where each writing makes a part of its own


class GrowingLines:
    """Lines of a file, of which none is ever written again: they are appended.

    Where nothing can be appended to, as in object stores, the lines are in parts: files in a folder that is named as
    the file is, without its ending. A line that a process was killed in the middle of counts as not written.

    Args:
        directory: where the file is.
        name: with an ending.

    Attributes:
        lines: those that were there, in order.

    Raises:
        UserError: what is there is no text, or more than fits.
    """

    def __init__(self, directory: RunDirectory, name: str) -> None:
        self._directory = directory
        self._name = name
        self._folder, self._ending = name.rsplit(".", 1)
        self._parts = [
            part for part in directory.names(self._folder) if re.fullmatch(rf"\d{{6}}\.{self._ending}", part)
        ]
        self._can_append = not self._parts  # a file that was moved here goes on as it is
        self._waiting: list[str] = []
        self._written = time.monotonic()
        texts = [self._text(name), *(self._text(f"{self._folder}/{part}") for part in self._parts)]
        self._is_torn = not texts[0].endswith("\n") and texts[0] != ""
        self.lines = [line for text in texts for line in text.rpartition("\n")[0].split("\n") if line]

    def add(self, line: str, *, at_once: bool = True) -> None:
        """Writes a line, at the latest half a minute later, or with the next one that is written at once.

        Raises:
            UserError: a full or read-only disk; a directory that another process has taken up.
        """
        self._directory.permit()
        self._waiting.append(line)
        if self._can_append:
            self._append()
        elif at_once or time.monotonic() - self._written > _LONGEST_WAIT:
            self._add_part()

    def close(self) -> None:
        """Writes what waits."""
        if self._waiting:
            self._add_part()

    def _append(self) -> None:
        """To the file itself; to parts from now on if that can't be done here."""
        if self._is_torn:
            self._directory.write(self._name, "".join(self._text(self._name).rpartition("\n")[:2]).encode())
            self._is_torn = False
        path, files = self._directory.place(self._name)
        try:
            with files.open_append_stream(path, compression=None) as sink:
                sink.write(self._bytes())
        except pa.ArrowNotImplementedError:
            self._can_append = False
            self._add_part()
        except OSError as error:
            self._is_torn = True  # some of it may be there
            raise UserError(
                f"{self._directory.path}/{self._name} cannot be written ({error}); mend it, and go on with --resume"
            ) from error
        finally:
            self._waiting.clear()

    def _add_part(self) -> None:
        name = f"{int(self._parts[-1].split('.')[0]) + 1 if self._parts else 0:06d}.{self._ending}"
        self._directory.create((self._folder,))
        self._directory.write(f"{self._folder}/{name}", self._bytes())
        self._parts.append(name)
        self._waiting.clear()
        self._written = time.monotonic()

    def _bytes(self) -> bytes:
        return "".join(f"{line}\n" for line in self._waiting).encode()

    def _text(self, name: str) -> str:
        data = self._directory.read(name, MOST_BYTES + 1) or b""
        try:
            if len(data) > MOST_BYTES:
                raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
            return data.decode()
        except ValueError as error:
            raise UserError(
                f"{self._directory.path}/{name} cannot be read ({error}); it is damaged: put it back, or start anew "
                "under another --run-name"
            ) from error
