"""Which parts of a data set make up which split."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ray_mentor.data.readers.formats.part import AbstractPart
from ray_mentor.data.readers.places import Listing
from ray_mentor.errors import UserError, listed

Parts = tuple[AbstractPart, ...]


@dataclass(frozen=True)
class SplitParts:
    """Parts of each split, in order of their names; empty where the data has no such split.

    Attributes:
        what: the format and how much there is of it, in words.
        roles: settings of columns where the format itself decides them; None where the user does.
    """

    train: Parts
    validation: Parts = ()
    test: Parts = ()
    notes: tuple[str, ...] = ()
    what: str = ""
    roles: Mapping[str, str] | None = None

    @property
    def all(self) -> Parts:
        """Of every split."""
        return (*self.train, *self.validation, *self.test)

    def each(self, made: Callable[[AbstractPart], AbstractPart]) -> SplitParts:
        """The same splits, with another part in the place of each."""
        train, validation, test = (tuple(map(made, parts)) for parts in (self.train, self.validation, self.test))
        return dataclasses.replace(self, train=train, validation=validation, test=test)


_BEGINNINGS = {"train": "train", "test": "test", "validation": "valid|val(?![a-z])"}
_NAMED = {split: re.compile(beginning, re.IGNORECASE) for split, beginning in _BEGINNINGS.items()}
"""How the names of a split's files and folders begin: as Hugging Face's and torchvision's do."""


def split_of(name: str) -> str | None:
    """The split that a file belongs to by its name, or by that of a folder on the way (``train/0000.parquet``)."""
    for part in reversed(PurePosixPath(name).parts):
        for split, beginning in _NAMED.items():
            if beginning.match(part):
                return split
    return None


def by_name(
    listing: Listing, names: Sequence[str], make: Callable[[str], AbstractPart], *, whole: bool = False
) -> SplitParts:
    """Sorts what has these names into splits: ``train*``, ``test*``, ``valid*`` or ``val``.

    Without any ``train*``, what has other names is the training split; a single file always is. Without ``test*``,
    the validation split takes its place.

    Args:
        names: at least one.
        make: the part of a name.
        whole: all of it is one split, whatever the names.

    Raises:
        UserError: nothing is left to train on.
    """
    if listing.is_file or whole:
        return SplitParts(tuple(map(make, names)))
    named = {split: [name for name in names if split_of(name) == split] for split in _NAMED}
    others = [name for name in names if split_of(name) is None]
    notes = []
    if named["train"] and others:
        shown = listed((PurePosixPath(name).name for name in others), 5)
        notes.append(f"left out {len(others)} files that are named neither train*, test* nor valid*: {shown}")
    parts = {split: tuple(map(make, some)) for split, some in named.items()}
    train = parts["train"] or tuple(map(make, others))
    if not train:
        found = listed(PurePosixPath(name).name for name in names)
        raise UserError(f"{listing.location!r} holds no training split, only {found}; name its files train*")
    return with_test(train, parts["validation"], parts["test"], notes, "the valid* files are the test split")


def with_test(train: Parts, validation: Parts, test: Parts, notes: Sequence[str], instead: str) -> SplitParts:
    """The splits; where there is no test split, the validation split takes its place, which is said."""
    if not test and validation:
        return SplitParts(train, (), validation, (*notes, f"no test* files: {instead}"))
    return SplitParts(train, validation, test, tuple(notes))
