"""The samples that a run was trained on, read again as its settings say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray_mentor.config import DataConfig, values_of
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.splits.splits import prepare
from ray_mentor.errors import UserError


def samples_again(settings: Mapping[str, Any]) -> tuple[Samples | None, str]:
    """The training split; or None, and why it isn't at hand."""
    if "data" not in settings:
        return None, "the run's data were given in Python, and lie in no file that its settings name"
    if settings.get("data_backend") == "ray":
        return None, "the run's data are streamed by Ray"
    try:
        config = values_of(DataConfig, {name: value for name, value in settings.items() if name in _NAMES})
        return prepare(DataConfig(**config), int(settings.get("seed", 0))).train, ""
    except (UserError, TypeError) as error:
        return None, f"the data cannot be read again ({error})"


_NAMES = set(DataConfig.__dataclass_fields__)
