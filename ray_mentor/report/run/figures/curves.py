"""How a run went: accuracies, losses, guards, and where its time went."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray_mentor.report.page.drawing import STILL, Figure, escaped, layout, plot_axis
from ray_mentor.report.page.words import duration_text
from ray_mentor.report.run.figures.lines import line, look_of, over_epochs
from ray_mentor.report.run.folder import Folder, Row
from ray_mentor.report.terminal import phase_rows
from ray_mentor.run.findings.group_figures import BY_GROUP
from ray_mentor.run.tally import PREFIX

ACCURACIES = {
    "test_accuracy": ("test accuracy", "--line-a", "solid"),
    "trusted_accuracy": ("on held-out trusted samples", "--best", "solid"),
    "test_agreement": ("agreement with given labels (test)", "--line-c", "dash"),
    "validation_agreement": ("agreement with given labels (validation)", "--line-b", "dash"),
}
BITS = {
    "trusted_bits_per_byte": ("held-out trusted text", "--best", "solid"),
    "test_bits_per_byte": ("test split", "--line-a", "solid"),
    "validation_bits_per_byte": ("validation split", "--line-b", "dash"),
}
_LOSSES = {
    "loss": ("mean loss on training samples (given labels)", "--line-a", "solid"),
    "meta_loss": ("meta loss, trusted samples that the mentor learns from", "--line-d", "solid"),
    "meta_holdout_loss": ("meta loss, held-out trusted samples", "--best", "dash"),
}


def accuracy_figure(folder: Folder) -> Figure | None:
    """Accuracies over the epochs, or bits per byte of text, and a mark where the student is from that is kept."""
    names, title = (BITS, "bits per byte") if is_of_text(folder) else (ACCURACIES, "share that is right")
    figure = _of(folder, names, title)
    kept = (folder.result or {}).get("kept_epoch")
    if figure is not None and kept is not None:
        figure["layout"]["shapes"] = [
            {"type": "line", "x0": kept, "x1": kept, "y0": 0, "y1": 1, "yref": "paper", "line": _MARK}
        ]
    return figure


def groups_figure(folder: Folder) -> tuple[Figure, str] | None:
    """Accuracy of each group over the epochs, and what it is of; None where nobody says of which group samples are."""
    for name in ACCURACIES:
        columns = [column for column in (folder.metrics or [{}])[0] if column.startswith(name + BY_GROUP)]
        traces = [
            line(escaped(column.removeprefix(name + BY_GROUP)), folder.values(column), *look_of(place))
            for place, column in enumerate(columns)
        ]
        figure = over_epochs(traces, "share that is right", range=[-0.02, 1.02])
        if figure is not None:
            return figure, name
    return None


def is_of_text(folder: Folder) -> bool:
    """Whether the run is of plain text."""
    return any(map(folder.has, BITS))


_MARK = {"color": "--muted", "width": 1, "dash": "dot"}


def losses_figure(folder: Folder) -> Figure | None:
    """Losses over the epochs."""
    return _of(folder, _LOSSES, "loss (nats; meta loss: expected error)")


def _of(folder: Folder, names: dict[str, tuple[str, str, str]], title: str) -> Figure | None:
    traces = [line(says, folder.values(name), *look) for name, (says, *look) in names.items() if folder.has(name)]
    return over_epochs(traces, title)


def guards_figure(folder: Folder) -> Figure | None:
    """Steps with equal weights, an epoch each, and the share of steps that are mixed because of what is memorised."""
    counts = [value or 0 for value in folder.values("fallbacks")]
    steps = [value or 0 for value in folder.values("steps")]
    shares = [
        (after - before) / max(now - then, 1)
        for before, after, then, now in zip([0, *counts], counts, [0, *steps], steps, strict=False)
    ]
    traces = [line("steps with equal weights, mentor overruled", shares, "--bad")] if any(counts) else []
    if folder.has("memorised"):
        traces.append(line("steps that are mixed, as the student memorises", folder.values("memorised"), "--line-c"))
    return over_epochs(traces, "share of steps", height=300, range=[-0.02, 1.02])


def rate_figure(folder: Folder) -> Figure | None:
    """The learning rate in force at the end of each epoch, where it is learnt."""
    if not folder.has("learning_rate_factor"):
        return None
    return over_epochs([line("learning rate in force", folder.values("learning_rate"), "--line-a")], "learning rate")


def settings_figure(folder: Folder) -> Figure | None:
    """∂M/∂ log of what can be put as a factor, ∂M of label smoothing."""
    traces = []
    for name, (says, shade, factor) in _SETTINGS.items():
        is_said = (
            name not in ("weight_decay", "momentum") or name in folder.settings
        )  # not so of an optimizer of one's own
        if folder.has(PREFIX + name) and is_said:
            scale = factor(folder.settings)
            values = [None if each is None else scale * each for each in folder.values(PREFIX + name)]
            digits = [None if value is None else float(f"{value:.4g}") for value in values]
            traces.append(line(says, values, shade, y=digits))
    return over_epochs(traces, "change of the meta loss")


_SETTINGS: dict[str, tuple[str, str, Callable[[Row], float]]] = {
    "log_learning_rate": ("learning rate", "--line-a", lambda settings: 1.0),
    "weight_decay": ("weight decay", "--line-b", lambda settings: float(settings["weight_decay"])),
    "momentum": ("steps that momentum remembers", "--line-c", lambda settings: 1 - float(settings["momentum"])),
    "log_temperature": ("temperature of the loss", "--line-d", lambda settings: 1.0),
    "label_smoothing": ("label smoothing, from none to all", "--best", lambda settings: 1.0),
}
"""What is said of each, and what makes its hypergradient one of the logarithm: λ, or 1 − μ of log 1/(1 − μ)."""


_PARTS = {
    "student": "training: the student's steps",
    "scoring": "training: scoring",
    "meta step": "training: meta steps",
    "reading": "training: reading samples",
    "mixture": "training: shares of the sources",
    "learning rate": "training: learning the learning rate",
    "ledger": "training: the ledger",
    "measuring": "training: measuring an epoch's end",
    "saving": "training: checkpoints",
}


def time_rows(result: Row) -> list[tuple[str, float]]:
    """Seconds of each phase in order, training by its parts where these are known."""
    parts = result.get("part_seconds") or {}
    rows = []
    for name, seconds in phase_rows(result):
        if name == "training" and parts:
            rows += [(says, parts[part]) for part, says in _PARTS.items() if part in parts]
            rows.append(("training: the rest", max(seconds - sum(parts.values()), 0.0)))
        else:
            rows.append((name, seconds))
    return rows


def time_figure(folder: Folder) -> Figure | None:
    """Where the seconds went."""
    rows = time_rows(folder.result) if folder.result else []
    if not rows:
        return None
    names, seconds = [name for name, _ in rows][::-1], [value for _, value in rows][::-1]
    bars: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "x": seconds,
        "y": names,
        "text": [duration_text(value) for value in seconds],
        "textposition": "outside",
        "cliponaxis": False,
        "textfont": {"color": "--ink"},
        "marker": {"color": "--accent"},
        "hoverinfo": "skip",
    }
    kinds = {**plot_axis(""), "showgrid": False, "type": "category", "ticks": ""}
    margin = {"l": 10, "r": 70, "t": 40, "b": 50}
    look = layout(xaxis=plot_axis("seconds"), yaxis=kinds, height=110 + 34 * len(names), margin=margin)
    return {"data": [bars], "layout": look, "buttons": STILL}


def speed_figure(folder: Folder) -> Figure | None:
    """Samples a second, an epoch each."""
    return over_epochs(
        [line("samples per second", folder.values("samples_per_second"), "--accent")],
        "samples a second",
        height=280,
        rangemode="tozero",
    )
