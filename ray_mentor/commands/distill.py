"""``ray-mentor distill``: a rule of what a run's mentor said."""

from __future__ import annotations

from ray_mentor.extras import needing


def run(words: list[str]) -> None:
    """The command."""
    with needing("ray", "ray-mentor distill"):
        from ray_mentor.distill import distill  # noqa: PLC0415

    distill(words)
