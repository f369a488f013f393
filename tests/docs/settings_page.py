"""Makes docs/settings.md of the settings themselves.

python tests/docs/settings_page.py > docs/settings.md
"""

from __future__ import annotations

import dataclasses

from ray_mentor.config import (
    CurriculumConfig,
    DataConfig,
    LearnConfig,
    MentorConfig,
    MixtureConfig,
    RunSettings,
    StudentConfig,
)
from ray_mentor.config.compare import CompareSettings
from ray_mentor.config.described import described
from ray_mentor.config.sweep import SweepSettings
from ray_mentor.help import flag

GROUPS = {
    "Data": DataConfig,
    "Student": StudentConfig,
    "Mentor": MentorConfig,
    "Curriculum": CurriculumConfig,
    "Run": RunSettings,
    "Mixture": MixtureConfig,
    "Learned settings": LearnConfig,
    "Sweep": SweepSettings,
    "Comparison": CompareSettings,
}

_HEAD = """# Settings

A setting has one name everywhere: `update_interval` in Python and in a config file is `--update-interval` on the command line. One that is on or off is `--gpu` or `--no-gpu`. `ray-mentor train --help` shows those of every day, `--help-all` all of them; `--config FILE` takes the same names from TOML or YAML, and the command line wins over it. In Python they are fields of `DataConfig`, `StudentConfig`, `MentorConfig`, `CurriculumConfig`, `RunSettings`, `MixtureConfig`, `LearnConfig`, `SweepSettings` and `CompareSettings`.
"""  # noqa: E501 - a paragraph of Markdown is a line


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(f"\n## {title}\n\n{_table(group)}" for title, group in GROUPS.items())


def _table(group: type) -> str:
    defaults = {f.name: f.default for f in dataclasses.fields(group)}
    rows = [f"| `{flag(name)}` | {_shown(defaults[name])} | {_cell(text)} |" for name, _, text in described(group)]
    return "\n".join(["| option | default | what it says |", "|---|---|---|", *rows]) + "\n"


def _shown(value: object) -> str:
    text = " ".join(map(str, value)) if isinstance(value, tuple) else value
    return "" if text in ("", None) else f"`{text}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(page(), end="")
