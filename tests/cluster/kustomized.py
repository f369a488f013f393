"""What ``kubectl kustomize FOLDER`` makes, as far as cluster/ needs it; tests hold it against the real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml


def built(folder: Path) -> Any:
    """The one document that a folder's ``kustomization.yaml`` makes of its one resource by JSON patches."""
    table = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert table.keys() <= {"resources", "patches"}
    (name,) = table["resources"]
    resource = folder / name
    document = built(resource) if resource.is_dir() else _expanded(yaml.safe_load(resource.read_text()))
    for patch in table.get("patches", ()):
        assert patch["target"] == {"kind": document["kind"]}
        for operation in yaml.safe_load(patch["patch"]):
            _apply(document, **operation)
    return document


def _expanded(document: Any) -> Any:
    """With a copy in the place of each alias."""
    return json.loads(json.dumps(document))


def _apply(document: Any, op: str, path: str, value: Any = None, **more: str) -> None:
    """RFC 6902, as far as it is used; a mistake is a KeyError."""
    if op == "move":
        value = _at(document, more["from"])
        holder, key = _place(document, more["from"])
        del holder[key]
    holder, key = _place(document, path)
    if op == "replace":
        holder[key]
    elif op not in ("add", "move"):
        raise KeyError(op)
    holder[key] = value


def _place(document: Any, path: str) -> tuple[Any, Any]:
    """Who holds what lies there, and by which key or number."""
    before, _, last = path.rpartition("/")
    holder = _at(document, before)
    return holder, int(last) if isinstance(holder, list) else last


def _at(document: Any, path: str) -> Any:
    found = document
    for name in path.split("/")[1:]:
        found = found[int(name) if isinstance(found, list) else name]
    return found
