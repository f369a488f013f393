"""Bytes that ``torch.save`` wrote, read as data: whatever they are, nothing in them is executed or unpacked."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def load_plain(data: bytes) -> Any:
    """Plain containers, numbers, text and tensors; the tensors on the CPU.

    What is read takes no more memory than ``data``, a few times over: a file of a kilobyte can declare a terabyte.

    Raises:
        Exception: of whatever class the damage calls for.
    """
    _check_archive(data)
    value = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
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
        elif isinstance(each, dict):
            rest.extend(each.values())
        elif isinstance(each, list | tuple | set):
            rest.extend(each)


def _check_archive(data: bytes) -> None:
    """``torch.save`` compresses nothing; nor does ``torch.load`` compare the checksums, so that damage would load."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(part.file_size for part in archive.infolist())
        if size > len(data):
            raise ValueError(f"it unpacks to {size:,} bytes from {len(data):,}")
        damaged = archive.testzip() or next(filter(_is_marked_as_folder, archive.infolist()), None)
    if damaged is not None:
        raise ValueError(f"its part {getattr(damaged, 'filename', damaged)} is damaged")


def _is_marked_as_folder(part: zipfile.ZipInfo) -> bool:
    """``torch.load`` would take what happens to lie in memory for its content."""
    return bool(part.external_attr & 0x10) and not part.is_dir()
