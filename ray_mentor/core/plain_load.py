"""Bytes that ``torch.save`` wrote, read as data: whatever they are, nothing in them is executed or unpacked."""

from __future__ import annotations

import codecs
import io
import pickletools
import zipfile
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor


def load_plain(data: bytes) -> Any:
    """Plain containers, numbers, text and tensors; the tensors on the CPU.

    What is read takes no more memory than ``data``, some times over, and 256 MiB: a file of a kilobyte can declare a
    terabyte, and one of ten megabytes make ten million dicts. Nor does it when it is copied with what is in it twice
    written out, as optimizers do.

    Raises:
        Exception: of whatever class the damage calls for.
    """
    _check_archive(data)
    value = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    _check_written_out(value, len(data))
    for tensor in tensors_of(value):
        # An expanded tensor repeats its storage, and becomes as large as it says when it is copied.
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes() or tensor.device.type != "cpu":
            raise ValueError(f"it declares a tensor of shape {tuple(tensor.shape)}, but does not hold it")
    return value


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Every tensor in containers of containers, each once; one may hold another twice, or itself."""
    rest, seen = [value], set[int]()
    while rest:
        each = rest.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, Tensor):
            yield each
        rest.extend(_held_by(each))


def _held_by(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple | set) else ()


def _check_written_out(value: Any, most: int) -> None:
    """Raises a ValueError if more than ``most`` values are in containers of containers, each as often as it is there.

    What is saved takes a byte a value at least: more there are only of what holds itself, or the same again and again.
    """
    rest, count = [value], 1
    while rest:
        held = _held_by(rest.pop())
        count += len(held)
        if count > most:
            raise ValueError("its containers hold one another so often that they come to more values than it has bytes")
        rest.extend(held)


def _check_archive(data: bytes) -> None:
    """``torch.save`` compresses nothing; nor does ``torch.load`` compare the checksums, so that damage would load."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(part.file_size for part in archive.infolist())
        if size > len(data):
            raise ValueError(f"it unpacks to {size:,} bytes from {len(data):,}")
        damaged = archive.testzip() or next(filter(_is_marked_as_folder, archive.infolist()), None)
        if damaged is not None:
            raise ValueError(f"its part {getattr(damaged, 'filename', damaged)} is damaged")
        for part in archive.infolist():
            if part.filename.endswith("data.pkl"):
                pickled = archive.read(part)
                _check_calls(pickled)
                _check_objects(pickled, _ROOM + _TIMES * len(data))


def _check_calls(pickled: bytes) -> None:
    """Raises a ValueError if this calls what makes as much as it is told to; reads it, and makes nothing.

    Of what ``torch.load`` calls, that is ``bytearray(10**12)``, the classes of tensors, which take a size, too, and
    bytes in another coding, which may be twice as long, and so again and again. ``torch.save`` writes none of them:
    bytes are text in latin1, and a bytearray is made of bytes, which checkpoints do without.
    """
    if not any(name in pickled for name in (b"bytearray", b"Tensor", b"encode")):
        return
    last, memo = ["", "", ""], dict[int, str]()  # texts that were put on the stack last; "" is something else
    operations: Iterator[tuple[Any, Any, Any]] = pickletools.genops(pickled)
    for operation, value, _ in operations:
        if operation.name == "TUPLE" and any(map(_is_of_bytes, last)):
            raise ValueError(f"it may encode bytes as {', '.join(filter(None, last))}")
        if operation.name == "GLOBAL" and value.endswith((" bytearray", "Tensor")):
            raise ValueError(f"it calls {value.replace(' ', '.')}, which makes as much as it is told to")
        place = _CODING.get(operation.name, 0)  # bytes come before it, which are no text
        if place and not last[place - 1] and _is_of_bytes(last[place]):
            raise ValueError(f"it encodes bytes as {last[place]}")
        if operation.name in ("BINPUT", "LONG_BINPUT"):
            memo[value] = last[-1]
        elif operation.name in ("BINGET", "LONG_BINGET"):
            last = [*last[1:], memo.get(value, "")]
        else:
            last = [*last[1:], value if isinstance(value, str) else ""]


def _is_of_bytes(coding: str) -> bool:
    """Whether this is the name of a coding that makes bytes of bytes."""
    try:
        return len(coding) < _LONG and not codecs.lookup(coding)._is_text_encoding
    except (LookupError, ValueError):
        return False


_CODING = {"TUPLE2": 2, "TUPLE3": 1}
"""Where the coding is among what was put on the stack last, when these make the arguments; TUPLE takes any number."""

_LONG = 32  # characters: no coding has so many


def _check_objects(pickled: bytes, most: int) -> None:
    """Raises a ValueError if what this makes may take more than ``most`` bytes; reads it, and makes nothing."""
    if len(pickled) * _CALLED <= most:
        return
    room = most
    for operation, _, _ in pickletools.genops(pickled):
        room -= _TAKES.get(operation.name, _OTHER)
        if room < 0:
            raise ValueError(f"it makes objects of more than {most:,} bytes from {len(pickled):,}")


_ROOM, _TIMES = 256 << 20, 20
"""Bytes that what is read may take beside its tensors: so many, and so many times the file. A tensor of one number
comes to 5,200 by the figures below, and ``torch.save`` writes 285 of it (measured)."""

_MADE, _CALLED, _OTHER = 256, 1024, 16  # bytes: a set has 216, an empty tensor some 600
_TAKES = {
    **dict.fromkeys(("MARK", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"), _MADE),
    **dict.fromkeys(("REDUCE", "NEWOBJ", "BINPERSID", "BUILD"), _CALLED),
}
"""By the names of a pickle's operations: what each makes at most; texts and numbers are as large in the file."""


def _is_marked_as_folder(part: zipfile.ZipInfo) -> bool:
    """``torch.load`` would take what happens to lie in memory for its content."""
    return bool(part.external_attr & 0x10) and not part.is_dir()
