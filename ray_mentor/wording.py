"""How messages name a setting, as an option on the command line and as a field in Python, and how they count."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

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

OPTIONS = frozenset(
    {
        "anchor", "augment", "batch-size", "burn-in", "channels-last", "checkpoint-seconds", "checkpoint-steps",
        "class-evidence", "clean", "clean-test", "clip", "concurrent", "config", "confirm-seeds", "count",
        "data", "data-backend", "data-cache", "data-folder", "download", "duplicates", "ema", "end-hopeless",
        "entropy", "epochs", "estimator", "example-dropout", "feature-columns", "forget-epochs", "forget-rate",
        "format", "freeze", "gpu", "gpus-per-worker", "gradient-rule", "group-column", "group-rate",
        "hang-seconds", "help", "help-all",
        "history-length", "hold-on-device", "horizon", "id-column", "ignore-columns", "image-column",
        "image-size", "imbalance", "influence-decay", "influence-samples", "initial-sample-weight",
        "keep-checkpoints", "keep-columns", "label-column", "learn", "learn-interval",
        "learn-step", "learn-trace", "learn-until", "learning-rate", "learning-rate-head", "log-to",
        "loss", "loss-percentile", "max-failures", "max-repeats", "max-tokens", "mentor", "mentor-embedding",
        "mentor-features", "mentor-from", "mentor-hidden", "mentor-learning-rate", "mentor-params",
        "mentor-patience", "mentor-weight-decay", "meta-balance", "meta-batch-size", "meta-column", "meta-data",
        "meta-from",
        "meta-holdout", "meta-ids", "meta-in-training", "meta-loss", "meta-size", "meta-sizes", "method",
        "methods", "min-class-share", "min-effective-share", "min-workers", "mixing", "mixture", "mixup-alpha",
        "momentum", "nesterov", "node-seconds", "noise", "noises", "normalisation", "objective", "on",
        "optimizer", "out", "pace", "percentile-decay", "precision", "preset", "prior", "prior-pull",
        "probabilities", "probes", "reference", "refine", "relabelled", "resume", "resume-or-start", "reweight",
        "run-name", "schedule", "scheduler", "scoring", "search", "seed", "seeds", "share-floor",
        "shares-burn-in", "shares-interval", "shares-rate", "shuffle-rows", "skip-broken", "storage-path",
        "student", "student-weights", "sync-batch-norm", "target-batch", "taught-at", "test-share", "test-size",
        "text-column", "to", "top", "train-size", "trials", "true-label-column", "unlabelled-weight",
        "unroll-steps", "update-interval", "validation-share", "verbose", "verify", "version", "warm-up",
        "weight-decay", "weights", "which", "workers",
    }
)  # fmt: skip
"""All options of all commands: what else begins with two dashes is none of ours."""

_QUOTED = r"(?<!\w)(?:'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")(?!\w)"  # as repr writes a value
_OPTION = re.compile(
    _QUOTED + r"|(?<![\w/=-])--([a-z]+(?:-[a-z]+)*)(?![\w/=-]|\.\w)(?: ([^\s,;:)'\"]*[^\s,;:).'\"])(?!['\"]))?"
)
_VALUE = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?|[A-Z_]+(\.\w+)?")
_WORDS = frozenset(
    {
        "arrow", "asha", "byte-gpt", "csv", "finite_difference", "gce", "jsonl", "jvp", "last_layer", "memory",
        "mentornet", "mentornet-frozen", "mentornet-pd", "mixup", "mlp", "none", "pseudo-clean", "random", "ray",
        "self-paced", "text", "uniform", "unrolled",
    }
)  # fmt: skip


def counted(number: int, noun: str) -> str:
    """``1 epoch``, ``2 epochs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_python(text: str) -> str:
    """A message with ``run_name`` for ``--run-name``, ``resume=True`` for ``--resume``, ``workers=0`` for
    ``--workers 0``: what stands in ``TrainConfig().changed(...)`` and in the arguments of a trainer.

    Whatever is quoted, is :func:`foreign`, or is no option of ours stays as it is.
    """
    return _OPTION.sub(_as_field, text).replace(_FOREIGN, "--")


def foreign(text: str) -> str:
    """What others' code says, to be built into a message: options that it names are not ours."""
    return text.replace("--", _FOREIGN)


_FOREIGN = "-\u2060-"  # a word joiner between, which is taken out where a message is said


@contextmanager
def in_options() -> Iterator[None]:
    """For the command line: meanwhile messages of this process name options, elsewhere fields."""
    _commands.append(True)
    try:
        yield
    finally:
        _commands.pop()


_commands: list[bool] = []
"""That run; none in a script or a notebook."""


def as_said_here(text: str) -> str:
    """A message, which is written with options, in the words of whoever called."""
    return text.replace(_FOREIGN, "--") if _commands else in_python(text)


def _as_field(option: re.Match[str]) -> str:
    if option[1] is None or option[1].removeprefix("no-") not in OPTIONS:
        return option[0]
    name, word = option[1].replace("-", "_"), option[2]
    after = "" if word is None else f" {word}"
    if name in SWITCHES:
        return f"{name}=True{after}"
    if name.removeprefix("no_") in SWITCHES:
        return f"{name.removeprefix('no_')}=False{after}"
    if word is not None and _VALUE.fullmatch(word):
        return f"{name}={word}"
    return f"{name}={word!r}" if word in _WORDS else f"{name}{after}"
