"""File systems of which a test is told each operation that changes a file, or each at all, before it happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow.fs

from ray_mentor.run.directory import RunDirectory

Hook = Callable[[str, str], None]


class WatchedFiles(pyarrow.fs.FileSystemHandler):
    """The local file system.

    Args:
        before: called with what is about to be done, and to which path.
        kind: what it says it is: "local", or "s3", where nothing can be renamed.
        looks: called likewise before a look at what is there, and before a folder is made.
    """

    def __init__(self, before: Hook, kind: str = "local", looks: Hook = lambda what, where: None) -> None:
        self._before = before
        self._looks = looks
        self._kind = kind
        self._files = pyarrow.fs.LocalFileSystem()

    def get_type_name(self) -> str:
        return self._kind

    def move(self, src: str, dest: str) -> None:
        assert self._kind != "s3", "a copy, and then a removal"
        self._before("move", dest)
        self._files.move(src, dest)

    def delete_file(self, path: str) -> None:
        self._before("delete_file", path)
        self._files.delete_file(path)

    def delete_dir(self, path: str) -> None:
        self._before("delete_dir", path)
        self._files.delete_dir(path)

    def create_dir(self, path: str, recursive: bool) -> None:
        self._looks("create_dir", path)
        self._files.create_dir(path, recursive=recursive)

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        self._before("open_output_stream", path)
        return self._files.open_output_stream(path, metadata=metadata)

    def get_file_info(self, paths: list[str]) -> Any:
        self._looks("get_file_info", paths[0])
        return self._files.get_file_info(paths)

    def get_file_info_selector(self, selector: Any) -> Any:
        self._looks("list", selector.base_dir)
        return self._files.get_file_info(selector)

    def open_input_stream(self, path: str) -> Any:
        self._looks("read", path)
        return self._files.open_input_stream(path)

    def open_input_file(self, path: str) -> Any:
        return self._files.open_input_file(path)

    def normalize_path(self, path: str) -> str:
        return str(self._files.normalize_path(path))

    def open_append_stream(self, path: str, metadata: Any) -> Any:
        raise NotImplementedError

    def copy_file(self, src: str, dest: str) -> None:
        raise NotImplementedError

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        raise NotImplementedError

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError


def watched(path: str, before: Hook = lambda what, where: None, kind: str = "local") -> RunDirectory:
    """A run directory on such a file system."""
    return RunDirectory(path, pyarrow.fs.PyFileSystem(WatchedFiles(before, kind)))
