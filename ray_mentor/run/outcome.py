"""What a finished run has to say."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from torch import Tensor, nn

from ray_mentor.config import TrainConfig
from ray_mentor.core.state.curriculum import CurriculumState
from ray_mentor.data.readers.tables.said import doubtful_labels
from ray_mentor.data.readers.texts.windows import bits_per_byte
from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import printable
from ray_mentor.extras import needing
from ray_mentor.run.accuracy import ALL_BITS, BITS, OF_AVERAGE, OF_EACH, TEST_LOSS, trusted_mean, wilson
from ray_mentor.run.advice import advice
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.checkpoint.kept import Hits, KeptState
from ray_mentor.run.checkpoint.state import RunState
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.names import with_ids, with_sources
from ray_mentor.run.ledger.detection import Detection
from ray_mentor.run.ledger.files import read_ledger
from ray_mentor.run.marks import Marks
from ray_mentor.run.mixture.table import mixture_result
from ray_mentor.wording import in_python

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ray_mentor.run.trained.student import Student

VERSIONED = ("ray-mentor", "ray", "torch", "torchvision", "numpy", "pyarrow")


@dataclass(frozen=True, repr=False)
class Outcome:
    """A finished run.

    Attributes:
        result: what ``result.json`` holds.
        metrics: one row an epoch.
        path: the run directory.
        student_state: params and buffers of the student that is kept (:mod:`~ray_mentor.run.checkpoint.kept`), for
            ``load_state_dict``.
        files: the file system that ``path`` is a folder of, where one was given.
        build: builds a fresh student; None where the run's folder alone says how.
    """

    result: dict[str, Any]
    metrics: list[dict[str, float | None]]
    path: str
    student_state: dict[str, Tensor]
    files: Any = None
    build: Callable[[], nn.Module] | None = None

    def __repr__(self) -> str:
        result = self.result
        accuracies = (
            ("test accuracy", result.get("test_accuracy")),
            ("accuracy on held-out trusted samples", result.get("trusted_accuracy")),
            ("agreement with given labels", result.get("test_agreement")),
            ("bits per byte of held-out trusted text", result.get(f"trusted_{BITS}")),
            ("bits per byte of the test split", result.get(f"test_{BITS}")),
        )
        figures = [f"{name} {value:.3f}" for name, value in accuracies if value is not None]
        lines = [
            f"{result.get('method', 'a run')}: {', '.join(figures) or 'nothing measured'}",
            f"in {self.path}",
            "next: outcome.plot(), outcome.audit(), outcome.student(), outcome.ledger(), outcome.result",
            *(in_python(note) for note in result.get("notes", ())),
        ]
        return "\n".join(map(printable, lines))

    def plot(self) -> Figure:
        """Accuracies and mean sample weights over the epochs, and weights against losses, as matplotlib's figure.

        A notebook shows it; elsewhere ``outcome.plot().savefig("run.png")``.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        with needing("plot", "outcome.plot()"):
            from ray_mentor.run.findings.picture import picture  # noqa: PLC0415
        return picture(self.metrics, read_ledger(RunDirectory(self.path, self.files)))

    def student(self) -> Student:
        """The trained student that is kept, which says probabilities of raw inputs: ``student.predict(images)``.

        Raises:
            UserError: its files are gone or damaged.
        """
        from ray_mentor.run.trained.student import Student  # noqa: PLC0415 - it reads what is written beside this

        return Student.from_run(self.path, self.build, files=self.files)

    def ledger(self) -> pa.Table:
        """All rows of the ledger; ``sample_id`` is the user's, by dictionary where those are strings, and
        ``domain`` the name of its source, where there are several, ``group`` that of its group, where a column says so.
        """
        directory = RunDirectory(self.path, self.files)
        return with_sources(with_ids(read_ledger(directory), directory), directory)

    def audit(self) -> Audit:
        """Which given labels are most likely wrong, and how many."""
        return Audit.from_run(RunDirectory(self.path, self.files))


def result_of(
    config: TrainConfig,
    train: Samples,
    state: RunState,
    marks: Marks,
    wrong: Detection,
    *,
    own_loss: bool = False,
    constant: str | None = None,
) -> dict[str, Any]:
    """What ``result.json`` holds; all accuracies are those of the student that is kept, and those of an average of its
    params (``..._average``) of the average after the last epoch.

    Args:
        train: the training split.
        state: at the end.
        wrong: how well wrong labels were told from right ones, and by what.
        own_loss: whether the loss is the user's.
        constant: what there is to say of a student that says one class of everything; None: it does not.
    """
    metrics = state.log.metrics
    result = {
        **trusted_figures(state.kept),
        **accuracies(metrics, None if state.kept is None else state.kept.kept_epoch),
        "noise_auroc": wrong.auroc,
        "noise_auroc_of": wrong.by,
        "sample_weight_spread": wrong.spread,
        "train_seconds": state.log.train_seconds,
        "wall_seconds": time.time() - marks.began,
        "phase_seconds": marks.phases(),
        "part_seconds": marks.parts,
        "steps": state.curriculum.step,
        "meta_updates": state.curriculum.meta_updates,
        "guards": guard_figures(state.curriculum, metrics),
        "samples_per_second": len(train) * config.run.epochs / state.log.train_seconds,
        "method": config.curriculum.method,
        "seed": config.run.seed,
        "workers": config.run.workers,
        "versions": versions(),
    }
    if state.curriculum.rate is not None:
        result["learned"] = {"lr": _learned_rate(state.curriculum.rate, config.student.learning_rate)}
    if state.mixture is not None:
        result["mixture"] = mixture_result(state.mixture, config.mixture.policy, train.tokens)
    guess = None if own_loss or not train.classes else math.log(len(train.classes))
    return {**result, "notes": [*advice(result, config, state, guess, constant), *doubtful_labels(train.classes)]}


def _learned_rate(state: Mapping[str, Any], given: float) -> dict[str, float]:
    """What was learnt of the learning rate: its factor, the peak with it, and how often training was put back."""
    factor = math.exp(state["factor"]["value"])
    return {"factor": factor, "learning_rate": given * factor, "times_put_back": state["rejected"]}


def trusted_figures(kept: KeptState | None) -> dict[str, Any]:
    """Accuracy of the kept student on the held-out trusted samples, with Wilson's 95 % interval; None without any.

    Of plain text bits per byte, with the standard error of their mean over windows.
    """
    return hits_figures(None if kept is None else kept.hits if kept.is_earlier else kept.last_hits)


def hits_figures(hits: Hits | None) -> dict[str, Any]:
    """The same of a student, by which of the held-out trusted samples it gives their label."""
    if hits is not None and hits.is_floating_point():
        error = bits_per_byte(hits.std().item() / math.sqrt(len(hits))) if len(hits) > 1 else None
        none = {"trusted_accuracy": None, "trusted_interval": None}
        return {**none, **trusted_mean(hits), f"trusted_{BITS}_error": error, "trusted_held_out": len(hits)}
    right, count = (0, 0) if hits is None else (int(hits.sum()), len(hits))
    return {
        "trusted_accuracy": right / count if count else None,
        "trusted_interval": list(wilson(right, count)) if count else None,
        "trusted_held_out": count,
    }


def accuracies(metrics: list[dict[str, float | None]], epoch: int | None) -> dict[str, float | int | None]:
    """What the metrics say of an epoch, of the last where it is None: its number from 1 on, and its shares at its end.

    Args:
        epoch: from 0 on, as in the metrics.
    """
    rows = metrics if epoch is None else [row for row in metrics if row.get("epoch") == epoch]
    row = rows[-1] if rows else {}
    number = row.get("epoch")
    return {
        "kept_epoch": None if number is None else int(number) + 1,
        **{name: row.get(name) for name in ("test_accuracy", "test_agreement", "validation_agreement")},
        **{name: row[name] for name in (*OF_EACH, TEST_LOSS, *ALL_BITS) if name in row},
        **{name: metrics[-1][name] for name in OF_AVERAGE if metrics and name in metrics[-1]},
    }


def last_value(metrics: list[dict[str, float | None]], name: str) -> float | None:
    """What the last epoch's row says; None where a checkpoint that someone made by hand says nothing."""
    return metrics[-1].get(name) if metrics else None


def guard_figures(state: CurriculumState, metrics: list[dict[str, float | None]]) -> dict[str, float | None] | None:
    """How often a mentor had to be overruled, and what it makes of trusted samples at the end; None without a mentor.

    ``inconsistent_updates`` are among those skipped. ``meta_loss`` is that of the last epoch with an update,
    ``meta_holdout_loss`` that of the last epoch.
    """
    if state.mentor is None:
        return None
    meta_losses = [loss for row in metrics if (loss := row.get("meta_loss")) is not None]
    return {
        "fallbacks": state.guards.fallbacks,
        "skipped_updates": state.mentor.skipped,
        "inconsistent_updates": state.guards.inconsistent,
        "updates_without_influence": state.guards.without_influence,
        "mentor_stopped_at": state.guards.stopped_at,
        "meta_loss": meta_losses[-1] if meta_losses else None,
        "meta_holdout_loss": last_value(metrics, "meta_holdout_loss"),
    }


def versions() -> dict[str, str]:
    """Of what a result depends on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in VERSIONED}}


def _version(name: str) -> str:
    """As installed; a source tree on the path, such as a submitted job's, has no version."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
