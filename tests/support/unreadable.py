"""Files that are there and may not be read, whoever runs the tests; root may read them all."""

from __future__ import annotations

import os
from typing import Any

import pyarrow.fs
from fsspec.implementations.local import LocalFileSystem


def unreadable(*endings: str) -> Any:
    """This machine's file system: files whose paths end so may not be read, nor a folder `closed` be entered."""

    class Some(LocalFileSystem):
        cachable = False

        def _open(self, path: str, mode: str = "rb", **more: Any) -> Any:
            for ending in endings:
                if path.endswith(ending) and "r" in mode:
                    raise PermissionError(13, "Permission denied", ending)
            return super()._open(path, mode, **more)

        def info(self, path: str | os.DirEntry[str], **more: Any) -> Any:
            if "closed" in os.fspath(path):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return super().info(path, **more)

    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(Some()))
