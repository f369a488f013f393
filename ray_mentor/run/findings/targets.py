"""How a run's student does on each of several targets."""

from __future__ import annotations

from typing import Any

from ray_mentor.data.samples.samples import Samples
from ray_mentor.run.accuracy import trusted_mean
from ray_mentor.run.checkpoint.kept import KeptState


def target_figures(meta: Samples, held_out: Samples | None, kept: KeptState | None) -> dict[str, Any]:
    """``targets`` of ``result.json``: weight, samples, how many of these are held out, and accuracy or bits per byte on
    them, by name; nothing where there is one target.

    Args:
        meta: all trusted samples.
        kept: how the student does on those that are held out; None where nobody knows.
    """
    targets = meta.domains
    if targets is None or targets.weights is None:
        return {}
    hits = None if kept is None else kept.hits if kept.is_earlier else kept.last_hits
    found = {}
    for place, (name, weight, size) in enumerate(zip(targets.names, targets.weights, targets.sizes, strict=True)):
        own = None if held_out is None or held_out.domains is None else held_out.domains.of == place
        mean = trusted_mean(None if hits is None or own is None or not own.any() else hits[own])
        figures = {each.removeprefix("trusted_"): value for each, value in mean.items()}
        found[name] = {"weight": weight, "samples": size, "held_out": 0 if own is None else int(own.sum()), **figures}
    return {"targets": found}
