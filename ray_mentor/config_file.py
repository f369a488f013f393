"""Config files: one flat table of settings, in TOML or YAML."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ray_mentor.errors import UserError


def read_config(path: str) -> dict[str, Any]:
    """Reads a table of settings; ``update-interval`` and ``update_interval`` are one name.

    Raises:
        UserError: no such file, another ending than .toml, .yaml or .yml, a syntax error, nested tables, or a
            name that is there twice.
    """
    file = Path(path)
    readers: dict[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".yaml": yaml.safe_load, ".yml": yaml.safe_load}
    if file.suffix not in readers:
        raise UserError(f"config file is {path!r}, but it must end in one of {', '.join(readers)}")
    try:
        table = readers[file.suffix](file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no config file {path!r}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise UserError(f"config file {path!r} cannot be read: {error}") from None
    table = {} if table is None else table
    if not isinstance(table, dict) or any(isinstance(value, dict) for value in table.values()):
        raise UserError(f"config file {path!r} must hold one flat table, e.g. update_interval = 10; no sections")
    names = [str(name).replace("-", "_") for name in table]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"config file {path!r} names {name} twice; keep one")
    return dict(zip(names, table.values(), strict=True))


def to_toml(table: Mapping[str, Any]) -> str:
    """Settings as TOML that :func:`read_config` reads; what is None is left out, since TOML has no such value."""
    return "".join(f"{name} = {_value(value)}\n" for name, value in table.items() if value is not None)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML forbids one character more
    return repr(value)
