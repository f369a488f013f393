"""Config files: one flat table of settings, in TOML or YAML."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ray_mentor.errors import UserError

MOST_BYTES = 64 * 1024
"""Of a file of settings."""

_MOST_DOTS = 4000  # tomllib takes time and memory in the square of a dotted name's length: 5 s for 16,000 parts


class _FlatLoader(yaml.SafeLoader):
    """YAML's plain types alone; no second use of a list or a table, nine of which in nine of which fill any memory."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        again = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if again and not isinstance(node, yaml.ScalarNode):
            raise yaml.YAMLError("it uses a list or a table twice (*name); write it out")
        return node


def _read_yaml(text: str) -> Any:
    loader = _FlatLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _read_toml(text: str) -> Any:
    if text.count(".") > _MOST_DOTS:
        raise ValueError(f"it holds {text.count('.')} dots, but must hold at most {_MOST_DOTS}")
    return tomllib.loads(text)


_READERS: dict[str, Callable[[str], Any]] = {".toml": _read_toml, ".yaml": _read_yaml, ".yml": _read_yaml}


def read_config(path: str) -> dict[str, Any]:
    """Reads a table of settings; ``update-interval`` and ``update_interval`` are one name.

    Raises:
        UserError: no such file, another ending than .toml, .yaml or .yml, more than 64 KiB, a syntax error, nested
            tables, or a name that is there twice.
    """
    file = Path(path)
    if file.suffix not in _READERS:
        raise UserError(f"config file is {path!r}, but it must end in one of {', '.join(_READERS)}")
    return settings_in(_content(file), file.suffix, f"config file {path!r}")


def settings_in(content: bytes, kind: str, what: str) -> dict[str, Any]:
    """The table of settings that a file holds, of which ``MOST_BYTES`` and one are enough to give.

    Args:
        kind: the file's ending.
        what: the file is, for the error.

    Raises:
        UserError: too long a file, a syntax error, nested tables, or a name that is there twice.
    """
    try:
        if len(content) > MOST_BYTES:
            raise UserError(
                f"{what} cannot be read: it holds more than {MOST_BYTES // 1024} KiB, but settings are a page; give a "
                "file of settings"
            )
        table = _READERS[kind](content.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{what} cannot be read: {error}") from None
    except UserError:
        raise
    except Exception as error:  # a date of month 13 is a ValueError, [[[[... a RecursionError, !!bool x a KeyError
        raise UserError(f"{what} cannot be read: {type(error).__name__}: {error}") from None
    table = {} if table is None else table
    if not isinstance(table, dict) or any(isinstance(value, dict) for value in table.values()):
        raise UserError(f"{what} must hold one flat table, e.g. update_interval = 10; no sections")
    names = [str(name).replace("-", "_") for name in table]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise UserError(f"{what} names {twice} twice; keep one")
    return dict(zip(names, table.values(), strict=True))


def _content(file: Path) -> bytes:
    """What a file of settings holds; never waits, as a pipe would make it."""
    try:
        if file.exists() and not file.is_file():
            raise UserError(f"config file {str(file)!r} cannot be read: it is not a file; name one")
        with file.open("rb") as opened:
            return opened.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"there is no config file {str(file)!r}") from None
    except OSError as error:
        raise UserError(f"config file {str(file)!r} cannot be read: {error}") from None


def to_toml(table: Mapping[str, Any]) -> str:
    """Settings as TOML that :func:`read_config` reads; what is None is left out, since TOML has no such value.

    Raises:
        UserError: more than it would read.
    """
    text = "".join(f"{name} = {_value(value)}\n" for name, value in table.items() if value is not None)
    if len(text.encode()) > MOST_BYTES or text.count(".") > _MOST_DOTS:
        longest = max(table, key=lambda name: len(str(table[name])))
        raise UserError(
            f"the settings take {len(text.encode())} bytes and {text.count('.')} dots as a file, but must take at most "
            f"{MOST_BYTES} and {_MOST_DOTS}; make {longest} shorter"
        )
    return text


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML forbids one character more
    return repr(value)
