"""Functions of the user's own that a setting names: MODULE:FUNCTION, FILE.py:FUNCTION."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ray_mentor.errors import UserError, listed, said_by_others, shown


def names_a_file(name: str) -> bool:
    """Whether a named function lies in a file, rather than in a module."""
    return name.partition(".py")[1] == ".py" and (name.endswith(".py") or ".py:" in name)


def source_of(name: str, kind: str) -> bytes | None:
    """What the file of a named function holds, for machines that lack it; None of a module's.

    Args:
        kind: what the function is, in a word.

    Raises:
        UserError: no such file.
    """
    return source_in(_parts(name, kind)[0], kind, "give FILE.py:FUNCTION") if names_a_file(name) else None


@functools.lru_cache(maxsize=8)
def named_function(name: str, source: bytes | None, kind: str, example: str) -> Callable[..., Any]:
    """The function that is called FILE.py:FUNCTION or MODULE:FUNCTION; modules are found in the current folder, too.

    Args:
        source: of its file.
        example: what to write where there is no function at all.

    Raises:
        UserError: there is none, or its file or module can't be loaded.
    """
    file, function = _parts(name, kind)
    if source is not None:
        return function_of(module_of(source, file, kind), function, name, kind, example)
    with also_found_in(os.getcwd()):
        return function_of(imported(str(file), kind), function, name, kind, example)


def _parts(name: str, kind: str) -> tuple[Path, str]:
    place, _, function = name.rpartition(":")
    if not place or not function:
        raise UserError(f"{kind} is {shown(name)}, but it must name a function; give {name.rstrip(':')}:FUNCTION")
    return Path(place), function


@contextlib.contextmanager
def also_found_in(folder: str) -> Iterator[None]:
    """Modules in ``folder`` can be imported, too; after all others, so that none is hidden."""
    before = list(sys.path)
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path[:] = before


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Whatever a user's code raises is the user's to mend: says what, and where.

    Raises:
        UserError: in place of what was raised, which is its cause.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        raise UserError(f"{what}: {type(error).__name__}: {said_by_others(error)}{_where(error)}; mend it") from error


def imported(module: str, kind: str) -> ModuleType:
    """The module of this name.

    Args:
        kind: what its function is, in a word.

    Raises:
        UserError: it isn't there, or fails.
    """
    article = "an" if kind[0] in "aeiou" else "a"
    with explained(f"module {shown(module)} of {article} {kind} can't be imported"):
        return importlib.import_module(module)


def source_in(file: Path, kind: str, there_are: str) -> bytes:
    """What a file of Python holds.

    Args:
        there_are: what to give instead, for the error.

    Raises:
        UserError: no such file, or one that can't be read.
    """
    if not file.is_file():
        raise UserError(f"there is no {kind} file {shown(str(file))}; {there_are}")
    with explained(f"{kind} file {shown(str(file))} can't be read"):
        return file.read_bytes()


def module_of(source: bytes, file: Path, kind: str) -> ModuleType:
    """The module that a file holds, or held where it was read; others that lie beside the file can be imported by it.

    It has a name that is gone again, so that nobody takes it for one that others can load.

    Raises:
        UserError: it fails.
    """
    spec = importlib.util.spec_from_loader(f"_{kind}_{file.stem}", loader=None, origin=str(file))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(file)
    sys.modules[spec.name] = module
    try:
        with (
            also_found_in(str(file.parent.absolute())),
            explained(f"{kind} file {shown(str(file))} can't be loaded"),
        ):
            exec(compile(source, str(file), "exec"), vars(module))  # noqa: S102 - the user's own, who named it
    finally:
        del sys.modules[spec.name]
    return module


def function_of(module: ModuleType, function: str, name: str, kind: str, example: str) -> Callable[..., Any]:
    """The function of this name in a module.

    Args:
        name: as the user gave it.
        example: what to write where the module has no function at all.

    Raises:
        UserError: there is none; it names those that are there.
    """
    found = getattr(module, function, None)
    if callable(found):
        made: Callable[..., Any] = found
        return made
    there = _functions(module)
    has = f"it has {listed(there)}" if there else "it defines none"
    fix = f"give :{there[0]}" if there else example
    raise UserError(f"{kind} {shown(name)} has no function {shown(function)}; {has}; {fix}")


def _functions(module: ModuleType) -> list[str]:
    """Its own public functions, in the order of the file."""
    own: list[tuple[str, Callable[..., Any]]] = inspect.getmembers(module, inspect.isfunction)
    own = [(name, each) for name, each in own if each.__module__ == module.__name__ and not name.startswith("_")]
    return [name for name, each in sorted(own, key=lambda pair: pair[1].__code__.co_firstlineno)]


def _where(error: BaseException) -> str:
    """The last line of the module that was asked for, on the way to the error; a SyntaxError says itself where."""
    ways = traceback.extract_tb(error.__traceback__)[2:]  # behind explained, and whoever asked for it
    frames = [frame for frame in ways if not _is_machinery(frame.filename)]
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""


def _is_machinery(file: str) -> bool:
    return file in (__file__, importlib.__file__) or file.startswith("<frozen")
