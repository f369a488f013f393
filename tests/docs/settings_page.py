"""Makes docs/settings.md of the settings themselves.

python tests/docs/settings_page.py > docs/settings.md
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap

from ray_mentor.config import CurriculumConfig, DataConfig, MentorConfig, RunSettings, StudentConfig
from ray_mentor.config.sweep import SweepSettings

GROUPS = {
    "Data": DataConfig,
    "Student": StudentConfig,
    "Mentor": MentorConfig,
    "Curriculum": CurriculumConfig,
    "Run": RunSettings,
    "Sweep": SweepSettings,
}

_HEAD = """# Settings

A setting has one name everywhere: `update_interval` in Python and in a config file is `--update-interval` on the command line. One that is on or off is `--gpu` or `--no-gpu`. `ray-mentor train --help` shows those of every day, `--help-all` all of them; `--config FILE` takes the same names from TOML or YAML, and the command line wins over it. In Python they are fields of `DataConfig`, `StudentConfig`, `MentorConfig`, `CurriculumConfig`, `RunSettings` and `SweepSettings`.
"""  # noqa: E501 - a paragraph of Markdown is a line


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(f"\n## {title}\n\n{_table(group)}" for title, group in GROUPS.items())


def _table(group: type) -> str:
    said = meanings(group)
    rows = [f"| `{_option(f.name)}` | {_shown(f)} | {_cell(said[f.name])} |" for f in dataclasses.fields(group)]
    return "\n".join(["| option | default | what it says |", "|---|---|---|", *rows]) + "\n"


def meanings(group: type) -> dict[str, str]:
    """Setting to the text below it in the source."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(group))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for setting, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(setting, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(setting.target, ast.Name)
            found[setting.target.id] = " ".join(str(text.value.value).split())
    return found


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _shown(setting: dataclasses.Field[object]) -> str:
    value = setting.default
    if isinstance(value, tuple):
        value = " ".join(map(str, value))
    return "" if value in ("", None) else f"`{value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(page(), end="")
