"""A space as its function gives it: one that is shipped, of a module, or of a file."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ray_mentor.errors import UserError, listed, shown

SHIPPED = "tune_spaces"
"""The package of the shipped spaces; found by name, since the package must do without it."""

_ROOT = str(Path(__file__).parents[3])  # in a source tree it lies there, whatever is installed
_FORMS = "give one of these, MODULE:FUNCTION or FILE.py[:FUNCTION]"
_FUNCTION = "space"


@dataclass(frozen=True)
class Given:
    """What a space's module holds, unchecked.

    Attributes:
        table: what its function returned.
        objective: its OBJECTIVE; None without.
        trials: its TRIALS; None without.
    """

    table: Any
    objective: Any
    trials: Any


def shipped_spaces() -> list[str]:
    """The names of the spaces that come with the package."""
    with _also_found_in(_ROOT):
        package = _imported(SHIPPED)
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def read_space(name: str) -> Given:
    """Calls the function that ``name`` means: NAME of a shipped space, MODULE:FUNCTION, FILE.py or FILE.py:FUNCTION.

    Raises:
        UserError: a module, file or function that is not there, or that fails; the cause is kept.
    """
    if name.endswith(".py"):
        return _of_file(name, name, _FUNCTION)
    place, colon, function = name.rpartition(":")
    if place.endswith(".py"):
        return _of_file(name, place, function)
    with _also_found_in(os.getcwd() if colon else _ROOT):
        return _given(name, _imported(place), function) if colon else _given(name, _shipped(name), _FUNCTION)


def _of_file(name: str, place: str, function: str) -> Given:
    file = Path(place)
    with _also_found_in(str(file.parent.absolute())):
        return _given(name, _loaded(file), function)


def _shipped(name: str) -> ModuleType:
    names = shipped_spaces()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        guess = f" (nearest: {near[0]})" if near else ""
        raise UserError(f"unknown space {shown(name)}{guess}; shipped: {listed(names)}; {_FORMS}")
    return _imported(f"{SHIPPED}.{name}")


def _imported(module: str) -> ModuleType:
    with _explained(f"module {shown(module)} of a space can't be imported"):
        return importlib.import_module(module)


def _loaded(file: Path) -> ModuleType:
    """The module in ``file``; under a name that is gone again, so that nobody takes it for one that others can load."""
    if not file.is_file():
        raise UserError(f"there is no space file {shown(str(file))}; shipped: {listed(shipped_spaces())}; {_FORMS}")
    spec = importlib.util.spec_from_file_location(f"_space_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        with _explained(f"space file {shown(str(file))} can't be loaded"):
            spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


def _given(name: str, module: ModuleType, function: str) -> Given:
    make = getattr(module, function, None)
    if not callable(make):
        there = _functions(module)
        has = f"it has {listed(there)}" if there else "it defines none"
        raise UserError(f"space {shown(name)} has no function {shown(function)}; {has}; {_example(there)}")
    with _explained(f"{function}() of space {shown(name)} fails"):
        return Given(make(), getattr(module, "OBJECTIVE", None), getattr(module, "TRIALS", None))


def _example(functions: list[str]) -> str:
    return f"give :{functions[0]}" if functions else f"def {_FUNCTION}(): ... returns the space"


def _functions(module: ModuleType) -> list[str]:
    """Its own public functions, in the order of the file."""
    own: list[tuple[str, Callable[..., Any]]] = inspect.getmembers(module, inspect.isfunction)
    own = [(name, each) for name, each in own if each.__module__ == module.__name__ and not name.startswith("_")]
    return [name for name, each in sorted(own, key=lambda pair: pair[1].__code__.co_firstlineno)]


@contextlib.contextmanager
def _also_found_in(folder: str) -> Iterator[None]:
    """Modules in ``folder`` can be imported, too; after all others, so that none is hidden."""
    before = list(sys.path)
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path[:] = before


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Whatever a user's code raises is the user's to mend: says what, and where."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise UserError(f"{what}: {type(error).__name__}: {error}{_where(error)}; mend it") from error


def _where(error: BaseException) -> str:
    """The last line of the module that was asked for, on the way to the error; a SyntaxError says itself where."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_machinery(frame.filename)]
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""


def _is_machinery(file: str) -> bool:
    return file in (__file__, importlib.__file__) or file.startswith("<frozen")
