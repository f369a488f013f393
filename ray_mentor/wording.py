"""How messages name a setting, as an option on the command line and as a field in Python, and how they count."""

from __future__ import annotations

import re

SWITCHES = frozenset(
    {
        "channels_last",
        "clean_test",
        "download",
        "gpu",
        "hold_on_device",
        "nesterov",
        "refine",
        "resume",
        "resume_or_start",
        "skip_broken",
        "sync_batch_norm",
    }
)
"""Settings that are on or off, and so an option without a value."""

MEANT = {
    "lr": "learning_rate",
    "max_grad_norm": "clip",
    "name": "run_name",
    "num_workers": "workers",
    "warmup": "warm_up",
    "wd": "weight_decay",
}
"""Settings by the names that they have elsewhere."""

_OPTION = re.compile(r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)(?: ([^\s,;:)]*[^\s,;:).]))?")
_VALUE = re.compile(r"-?\d+(\.\d+)?|[A-Z_]+(\.\w+)?")
_WORDS = frozenset(
    {"arrow", "asha", "finite_difference", "jvp", "last_layer", "memory", "mixup", "none", "random", "ray", "unrolled"}
)


def counted(number: int, noun: str) -> str:
    """``1 epoch``, ``2 epochs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_python(text: str) -> str:
    """A message with ``run_name`` for ``--run-name``, ``resume=True`` for ``--resume``, ``workers=0`` for
    ``--workers 0``: what stands in ``TrainConfig().changed(...)`` and in the arguments of a trainer.
    """
    return _OPTION.sub(_as_field, text)


def _as_field(option: re.Match[str]) -> str:
    name, word = option[1].replace("-", "_"), option[2]
    after = "" if word is None else f" {word}"
    if name in SWITCHES:
        return f"{name}=True{after}"
    if name.removeprefix("no_") in SWITCHES:
        return f"{name.removeprefix('no_')}=False{after}"
    if word is not None and _VALUE.fullmatch(word):
        return f"{name}={word}"
    return f"{name}={word!r}" if word in _WORDS else f"{name}{after}"
