"""Progress rows of a sweep."""

from __future__ import annotations

from typing import Any


def trial(name: str, epoch: int, **changes: Any) -> dict[str, Any]:
    """A trial after an epoch."""
    row = {
        "kind": "trial",
        "trial": name,
        "epoch": epoch,
        "objective": 0.512345,
        "accuracy": 0.6789,
        "seconds": 30.0,
        "settings": {"update_interval": 10, "entropy": 0.25, "nesterov": True},
    }
    return {**row, **changes}


def ended(name: str, state: str, objective: float | None = 0.5) -> dict[str, Any]:
    """A trial that has ended."""
    return {"kind": "ended", "trial": name, "state": state, "objective": objective}


def note(text: str) -> dict[str, Any]:
    """Something that befell the sweep."""
    return {"kind": "note", "text": text}
