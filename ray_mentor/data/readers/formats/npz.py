"""NumPy's .npz: arrays of inputs and labels by name, as Keras and others store them."""

from __future__ import annotations

import dataclasses
import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from typing_extensions import override

from ray_mentor.data.memory import require_memory
from ray_mentor.data.readers.formats.part import AbstractDirectPart, AbstractWholePart, Identity
from ray_mentor.data.readers.formats.splits import SplitParts, by_name, split_of, with_test
from ray_mentor.data.readers.places import File, Listing, opened
from ray_mentor.errors import UserError, listed

ENDING = ".npz"
KIND = "NumPy .npz"
_INPUTS, _LABEL, _TRUTH, _ID = "inputs", "label", "true_label", "sample_id"
_IMAGE = "image"

_NAMES = {
    _INPUTS: r"inputs?|x|images?|features?|data",
    _LABEL: r"labels?|y|targets?|given_labels?",
    _TRUTH: r"true_labels?|y_true|truth",
    _ID: r"ids?|sample_ids?",
}
_SPLIT = r"train(?:ing)?|test|val(?:id(?:ation)?)?"
_NAMED = {
    role: re.compile(rf"(?:(?P<before>{_SPLIT})_)?(?:{names})(?:_(?P<behind>{_SPLIT}))?", re.IGNORECASE)
    for role, names in _NAMES.items()
}
_WANTED = (
    "inputs (or x, images, features, data) and labels (or y, targets), as in np.savez(FILE, inputs=..., labels=...)"
)


def npz_files(listing: Listing, *, whole: bool) -> SplitParts:
    """A split a file, by its name; or all splits in one file, as x_train, y_train, x_test and y_test.

    Raises:
        UserError: no file, arrays that have none of the names, or no training split.
    """
    names = list(listing.names) if listing.is_file else listing.ending(ENDING)
    if not names:
        raise UserError(f"no .npz file at {listing.location!r}; name a file, or a folder that holds *{ENDING} files")
    if len(names) > 1:
        found = by_name(listing, names, lambda name: _only(listing.file(name)), whole=whole)
    else:
        found = _by_split(listing, _parts(listing.file(names[0])), whole=whole)
    columns = found.train[0].schema().names
    roles = {role: column for role, column in _COLUMNS.items() if column in columns}
    return dataclasses.replace(found, roles=roles, what=f"{KIND}, {len(names)} file{'s' * (len(names) != 1)}")


_COLUMNS = {"label_column": _LABEL, "true_label_column": _TRUTH, "id_column": _ID, "image_column": _IMAGE}


def _only(file: File) -> NpzPart:
    parts = _parts(file)
    if len(parts) > 1:
        raise UserError(
            f"{file} has arrays of several splits, but it is one of several files; let files or arrays be the splits"
        )
    return parts[0][1]


def _by_split(listing: Listing, parts: list[tuple[str, NpzPart]], *, whole: bool) -> SplitParts:
    if whole or len(parts) == 1:
        return SplitParts(tuple(part for _, part in parts))
    of = {split: tuple(part for named, part in parts if named == split) for split in ("train", "validation", "test")}
    if not of["train"]:
        raise UserError(
            f"{listing.location!r} holds no training split, only {listed(split for split, _ in parts)}; call its "
            "arrays x_train and y_train"
        )
    return with_test(of["train"], of["validation"], of["test"], (), "those of validation are the test split")


def _parts(file: File) -> list[tuple[str, NpzPart]]:
    """The arrays that belong together, by split."""
    with _archive(file) as archive:
        names = list(archive.files)
    found: dict[str, dict[str, str]] = {}
    for name in names:
        for role, pattern in _NAMED.items():
            if match := pattern.fullmatch(name):
                own = found.setdefault(split_of(match["before"] or match["behind"] or "train") or "train", {})
                if role in own:
                    raise UserError(
                        f"{file} has {own[role]!r} and {name!r}, each of which could be the {role}; leave one out"
                    )
                own[role] = name
    if not found or any(_INPUTS not in own for own in found.values()):
        raise UserError(f"{file} has the arrays {listed(names)}, but needs {_WANTED}")
    return [(split, NpzPart(file, tuple(sorted(own.items())))) for split, own in found.items()]


@dataclass(frozen=True)
class NpzPart(AbstractDirectPart, AbstractWholePart[dict[str, NDArray[Any]]]):
    """Some arrays of a file, one a meaning; images (uint8, of three axes or four) are handed on as PPM, features as a
    column each.

    Attributes:
        names: (meaning, name of the array).
    """

    kind = KIND
    file: File
    names: tuple[tuple[str, str], ...]

    @override
    def at(self, file: File) -> NpzPart:
        return dataclasses.replace(self, file=file)

    @override
    def read(self) -> dict[str, NDArray[Any]]:
        arrays = {role: _array(self.file, name) for role, name in self.names}
        named = dict(self.names)
        inputs = arrays[_INPUTS] = _inputs(arrays[_INPUTS], named[_INPUTS], self.file)
        for role in arrays.keys() - {_INPUTS}:
            arrays[role] = _in_one_row(arrays[role], named[role], self.file)
            if len(arrays[role]) != len(inputs):
                raise UserError(
                    f"{self.file} has {len(inputs)} {named[_INPUTS]}, but {len(arrays[role])} {named[role]}; give one "
                    "for each"
                )
        return arrays

    @override
    def __len__(self) -> int:
        return len(self.content[_INPUTS])

    @override
    def schema(self) -> pa.Schema:
        return self._rows(slice(0, 0), self._columns()).schema

    @override
    def about(self, columns: list[str], strings: list[str]) -> pa.Table:
        return self._rows(slice(None), columns)

    @override
    def stretch(self, start: int, stop: int, columns: list[str]) -> pa.Table:
        return self._rows(slice(start, stop), columns)

    @override
    def identity(self) -> Identity:
        return [*super().identity(), *(name for _, name in self.names)]

    @override
    def fingerprint(self) -> Identity:
        return [*super().fingerprint(), *(name for _, name in self.names)]

    def _columns(self) -> list[str]:
        inputs = self.content[_INPUTS]
        fed = [_IMAGE] if inputs.ndim == 4 else [f"x{place}" for place in range(inputs.shape[1])]
        return [*fed, *(role for role in self.content if role != _INPUTS)]

    def _rows(self, rows: slice, columns: list[str]) -> pa.Table:
        inputs = self.content[_INPUTS][rows]
        found = {}
        for name in columns:
            if name == _IMAGE:
                found[name] = pa.array(map(_ppm, inputs), pa.binary())
            elif name in self.content:
                found[name] = pa.array(self.content[name][rows])
            else:
                found[name] = pa.array(np.ascontiguousarray(inputs[:, int(name.removeprefix("x"))]))
        return pa.table(found)


def _ppm(pixels: NDArray[np.uint8]) -> bytes:
    """An image in the plainest of formats: its size, and its pixels as they are."""
    height, width, channels = pixels.shape
    return b"P%d %d %d 255\n" % (5 if channels == 1 else 6, width, height) + pixels.tobytes()


def _inputs(values: NDArray[Any], name: str, file: File) -> NDArray[Any]:
    """Images as (N, H, W, C), features as (N, F)."""
    what = f"array {name!r} of {file} is {values.dtype} of shape {values.shape}"
    if values.ndim <= 2 and values.ndim > 0 and values.dtype.kind in "iufb":
        return values.reshape(len(values), -1) if values.ndim == 1 else values
    if values.ndim not in (3, 4) or values.dtype != np.uint8:
        raise UserError(
            f"{what}, but inputs must be features, numbers of shape (N, F), or images, uint8 of shape (N, H, W) or "
            f"(N, H, W, C); {_as_bytes(values, name)}"
        )
    values = values[..., None] if values.ndim == 3 else values
    if values.shape[3] not in (1, 3):
        fix = "transpose(0, 2, 3, 1) brings channels to the end" if values.shape[1] in (1, 3) else "store them so"
        raise UserError(f"{what}, but images have 1 or 3 channels, on the last axis; {fix}")
    return values


def _as_bytes(values: NDArray[Any], name: str) -> str:
    """The line that makes inputs of numbers."""
    if values.ndim not in (3, 4) or values.dtype.kind not in "iufb" or not values.size:
        return "store them so"
    if values.any() and not values.max() > 0:
        return "store them so"
    are_bytes = not values.any() or (values.dtype.kind in "iu" and values.min() >= 0 and values.max() < 2**8)
    line = f'{name}.astype("uint8")' if are_bytes else f'({name} / {name}.max() * 255).astype("uint8")'
    return f"{line} makes images of amounts from 0 on, {name}.reshape(len({name}), -1) features"


def _in_one_row(values: NDArray[Any], name: str, file: File) -> NDArray[Any]:
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values  # as Keras has labels
    if values.ndim != 1:
        fix = "argmax(1) makes classes of scores" if values.ndim == 2 else "store them so"
        raise UserError(f"array {name!r} of {file} has shape {values.shape}, but must be in one row; {fix}")
    if values.dtype.kind in "cV":
        raise UserError(f"array {name!r} of {file} is {values.dtype}, but must be integers or strings; store them so")
    return values


def _array(file: File, name: str) -> NDArray[Any]:
    with _archive(file) as archive:
        with archive.zip.open(f"{name}.npy") as stored:
            shape, _, dtype = _header(stored)
        if dtype.hasobject:
            raise UserError(
                f"array {name!r} of {file} holds Python objects, which are never loaded: they can run code; store "
                "numbers or strings"
            )
        require_memory(math.prod(shape) * dtype.itemsize, f"array {name!r} of {file}", "write it as Parquet")
        values: NDArray[Any] = archive[name]
        return values


def _header(stored: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stored)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stored)


@contextmanager
def _archive(file: File) -> Iterator[Any]:
    try:
        with opened(file) as stored, np.load(stored, allow_pickle=False) as archive:
            yield archive
    except UserError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        zlib.error,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{file} can't be read as {KIND} ({reason}); it may be cut off or not .npz, write it anew with numpy.savez"
        ) from error
