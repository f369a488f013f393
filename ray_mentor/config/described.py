"""What each setting means: the text below it in the source, for ``--help-all`` and the pages of the documentation."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from typing import NamedTuple


class Described(NamedTuple):
    """A setting.

    Attributes:
        name: its one name.
        kind: its type, as written: ``int | None``.
        text: what it means, on one line.
    """

    name: str
    kind: str
    text: str


def described(group: type) -> list[Described]:
    """The settings of a group, one of the dataclasses of ``ray_mentor.config``, in their order."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(group))).body
    assert isinstance(tree, ast.ClassDef)
    texts = {}
    for setting, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(setting, ast.AnnAssign) and isinstance(setting.target, ast.Name) and isinstance(below, ast.Expr):
            assert isinstance(below.value, ast.Constant)
            texts[setting.target.id] = " ".join(str(below.value.value).split())
    return [Described(f.name, str(f.type), texts[f.name]) for f in dataclasses.fields(group)]
