"""What the tests of this folder are fed with, and what they ask of every answer."""

from __future__ import annotations

import io
import pickle
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ray_mentor.config import DataConfig
from ray_mentor.data.splits.splits import Splits, prepare
from ray_mentor.errors import UserError

ROWS = 24
LABELS = [row % 3 for row in range(ROWS)]
NUMBERS = np.random.default_rng(0).standard_normal(ROWS)
LONGEST_MESSAGE = 10_000


def parquet(columns: dict[str, Any], metadata: dict[str, str] | None = None, **options: Any) -> bytes:
    """A Parquet file."""
    file = io.BytesIO()
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), file, **options)
    return file.getvalue()


def picture(seed: int, form: str = "PNG", side: int = 4) -> bytes:
    """A small encoded image."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG of a hundred bytes that declares any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def splits_of(path: Path, **settings: Any) -> Splits:
    """What a run would train on."""
    drawn = {} if {"meta_data", "meta_ids"} & set(settings) else {"meta_size": 3}
    return prepare(DataConfig(data=str(path), **{**drawn, **settings}), seed=0)


def answer(call: Callable[[], Any], seconds: float = 20) -> str | None:
    """What a call's UserError says; None where it works. Nothing else may come out of it, nor take long."""
    began = time.monotonic()
    try:
        call()
        said = None
    except UserError as error:
        said = str(error)
        assert 10 < len(said) < LONGEST_MESSAGE
    assert time.monotonic() - began < seconds
    return said


class Creates:
    """Unpickled, it creates a file: what must never happen."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> Any:
        return open, (self._path, "w")


@contextmanager
def nothing_is_created(path: Path) -> Iterator[Creates]:
    """Gives an object whose loading creates ``path``, shows that it would, and that the block did not."""
    trap = Creates(path)
    pickle.loads(pickle.dumps(trap)).close()  # noqa: S301 - to see that it would
    assert path.exists()
    path.unlink()
    yield trap
    assert not path.exists(), "a pickle was executed"
