"""A sweep's words in HTML."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from ray_mentor.report.sweep.words import objective_text, state_text


def state_html(state: str) -> str:
    """A trial's state in plain words."""
    return html.escape(state_text(state))


def objective_html(sweep: Mapping[str, Any]) -> str:
    """The name of what was searched for."""
    return html.escape(objective_text(sweep))
