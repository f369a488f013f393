"""What a run says of its labels: a row a sample, how many labels are wrong, and which classes are confused."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_mentor.config import CurriculumConfig
from ray_mentor.core.mentor.start import RULE, kind_of
from ray_mentor.core.methods.table import METHODS, burn_in_of
from ray_mentor.data.samples.samples import Samples, samples_from_dataset
from ray_mentor.errors import UserError, printable
from ray_mentor.run.audit import noise, notes
from ray_mentor.run.audit.by_trusted import FEWEST, MOST_CLASSES, Found, Heard, found_by, short_of, trusted_counts
from ray_mentor.run.audit.columns import columns_of, named, or_null, plain
from ray_mentor.run.audit.noise import NoiseRate, knows_nothing, noise_matrix, noise_rate
from ray_mentor.run.audit.score import by_ranks, score_of, suspicion
from ray_mentor.run.audit.sums import UNKNOWN, Span, span_of
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.findings.names import class_names, told_apart, with_ids
from ray_mentor.run.meta_set.said import read_said

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn
    from torch.utils.data import Dataset

_MOST_EPOCHS, _SHARE = 5, 0.15

_NEXT = (
    "next: audit.to_pandas(), audit.issues, audit.by_class, audit.confusions, audit.weights(), audit.clean(), "
    "audit.datalab()"
)


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """What a run says of its labels; no true label is used for it.

    Attributes:
        table: a row a sample, the most suspicious first: ``sample_id`` (as the user knows it), ``given_label``,
            ``suggested_label`` (what the student said most often after burn-in) and ``suggested_share`` (of its
            predictions), ``score`` in [0, 1] (high: contradicted) and ``is_issue`` (of each given class as many of the
            highest as labels are wrong; above ½ where no trusted samples say how many); what it is made of:
            ``mean_sample_weight`` (what the mentor said), ``wrong_share`` (of predictions that were not the given
            label), ``mean_margin`` (z_given − max of the others), over the epochs after burn-in; ``mean_influence``
            (above 0: it harms), over all in which one was computed; ``loss_early`` and ``loss_late`` (nats), of the
            first and the last third of the epochs. Labels are class names. Null where a thing isn't known;
            ``true_label`` is there where it is known of all.
        classes: the class names.
        rate: how many labels are wrong; None where that can't be said.
        matrix: counts, a row a true class as estimated, a column a given one; None likewise.
        notes: what could not be said, and why.
    """

    table: pa.Table
    classes: tuple[str, ...]
    rate: NoiseRate | None
    matrix: NDArray[np.int64] | None
    notes: tuple[str, ...] = ()

    @classmethod
    def from_run(cls, run: str | os.PathLike[str] | RunDirectory) -> Audit:
        """Of a run's folder, of a run that still goes on, too.

        Raises:
            UserError: no run, a ledger without rows yet, or a file of it that is gone or damaged.
        """
        directory = run if isinstance(run, RunDirectory) else RunDirectory(os.fspath(run))
        settings = started_with(
            directory, "give the folder that the run named when it began, as in ray-mentor audit runs/first"
        )
        span = span_of(directory)
        if not len(span.ids):
            raise UserError(f"the ledger of {directory.path} has no rows yet; wait for the end of an epoch")
        burn_in = burn_in_epochs(settings, span.whole)
        classes = told_apart(class_names(directory) or [], span.classes)
        kind = kind_of(str(settings.get("method", "uniform")))
        columns, heard = columns_of(directory, span, burn_in)
        known = _known_by(directory, span, burn_in, heard, classes)
        found = _audited(directory, columns, classes, known, weighs=kind != "uniform", mentored=_is_mentored(kind))
        more = [notes.MIXED] if settings.get("mixing") == "mixup" else []
        planned = settings.get("epochs")
        if isinstance(planned, int) and span.whole < planned:
            more.append(f"the run has come to epoch {span.whole} of {planned}: later it says more")
        if found.matrix is not None:
            more += noise.unlearnt(found.matrix, classes)
        return dataclasses.replace(found, notes=(*found.notes, *more))

    def __repr__(self) -> str:
        lines = [f"{len(self.table):,} samples" if self.rate is None else str(self.rate), *self.notes, _NEXT]
        return "\n".join(map(printable, lines))

    def to_pandas(self) -> pd.DataFrame:
        """The table."""
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def weights(self) -> pa.Table:
        """``sample_id`` and ``weight`` = 1 − score, by id: near 0 where the student surely says another."""
        rows = self._by_id
        return pa.table({"sample_id": rows["sample_id"], "weight": pc.subtract(_ONE, rows["score"])})

    def clean(self, *, relabelled: bool = False) -> pa.Table:
        """``sample_id`` and ``label``, by id, of the training split.

        Args:
            relabelled: whether samples whose labels are taken for wrong are there with the suggested one; else they are
                left out.

        Raises:
            UserError: the ledger doesn't say which labels are wrong.
        """
        self._check_known()
        rows = self._by_id
        if not relabelled:
            right = rows.filter(pc.invert(rows["is_issue"]))
            return pa.table({"sample_id": right["sample_id"], "label": right["given_label"].cast(pa.string())})
        given, suggested = (rows[name].cast(pa.string()) for name in ("given_label", "suggested_label"))
        return pa.table({"sample_id": rows["sample_id"], "label": pc.if_else(rows["is_issue"], suggested, given)})

    @staticmethod
    def duplicates(samples: Samples | Dataset[Any], student: nn.Module | None = None) -> pa.Table:
        """Samples that are there more than once, those whose labels disagree first.

        As :func:`ray_mentor.run.audit.duplicates.duplicates` has it.

        Args:
            samples: that are looked at, or a map-style data set.
            student: trained, for near duplicates; None: exact ones alone.
        """
        from ray_mentor.run.audit.duplicates import duplicates  # noqa: PLC0415 - scikit-learn, for whoever asks

        return duplicates(samples if isinstance(samples, Samples) else samples_from_dataset(samples), student)

    def datalab(self) -> pd.DataFrame:
        """The columns of cleanlab's ``Datalab.get_issues("label")``, by id, which is the index.

        ``is_label_issue``, ``label_score`` (1 − score: there low is bad), ``given_label`` and ``predicted_label``.

        Raises:
            UserError: the ledger doesn't say which labels are wrong.
        """
        self._check_known()
        rows = self._by_id
        columns = {
            "sample_id": rows["sample_id"],
            "is_label_issue": rows["is_issue"],
            "label_score": pc.subtract(_ONE, rows["score"]),
            "given_label": rows["given_label"].cast(pa.string()),
            "predicted_label": rows["suggested_label"].cast(pa.string()),
        }
        frame: pd.DataFrame = plain(pa.table(columns)).to_pandas().set_index("sample_id")
        return frame

    @property
    def _by_id(self) -> pa.Table:
        return self.table.take(pc.sort_indices(plain(self.table.select(["sample_id"])), [("sample_id", "ascending")]))

    def _check_known(self) -> None:
        if self.rate is None:
            raise UserError(f"which labels are wrong isn't known: {self.notes[0]}; take the table's order instead")

    @property
    def issues(self) -> pa.Table:
        """The rows whose labels are taken for wrong."""
        return self.table.filter(self.table["is_issue"])

    @functools.cached_property
    def by_class(self) -> pa.Table | None:
        """Wrong labels class by class, the worst class first (:func:`~ray_mentor.run.audit.noise.by_class`)."""
        return None if self.matrix is None else noise.by_class(self.matrix, self.classes)

    @functools.cached_property
    def confusions(self) -> pa.Table | None:
        """Which classes are given for which, the most frequent first."""
        return None if self.matrix is None else noise.confusions(self.matrix, self.classes)


def burn_in_epochs(settings: Mapping[str, Any], epochs: int) -> int:
    """Epochs whose predictions say little: the run's own burn-in, and at least 15 % of it, 5 at most."""
    planned = settings.get("epochs") or epochs
    own, method = settings.get("burn_in"), str(settings.get("method", ""))
    if not isinstance(own, int | float):
        own = burn_in_of(CurriculumConfig(method=method), planned) if kind_of(method) in METHODS else 0.0
    return max(round(own * planned), min(_MOST_EPOCHS, math.ceil(_SHARE * planned)))


def _is_mentored(kind: str) -> bool:
    """Whether a mentor weighs the samples, or a rule made of one."""
    return kind.startswith((RULE, "mentornet")) or (kind in METHODS and METHODS[kind].learns)


def _weigh_the_same(of: dict[str, NDArray[Any]]) -> bool:
    """All samples, as where there is no mentor: then the student learns wrong labels by heart."""
    return bool(np.ptp(np.nan_to_num(of["mean_sample_weight"], nan=1.0)) == 0)


def _known_by(
    directory: RunDirectory, span: Span, burn_in: int, heard: Heard | None, classes: Sequence[str]
) -> Found | str:
    """How many labels are wrong, where trusted samples say; else why not."""
    if heard is None:
        return f"it takes 2 to {MOST_CLASSES} classes"
    if not heard.said.any():
        return "nothing is known of what it says soon after burn-in"
    trusted = trusted_counts(read_said(directory), span.classes, span.soon_after(burn_in))
    few = short_of(trusted, heard.said)
    if few is None:
        return found_by(heard, trusted, len(span.ids))
    there = round(float(trusted[few].sum()))
    return f"it takes {FEWEST} of each class that is given, and there {_are(there)} of {classes[few]!r}"


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count or 'none'}"


_ONE = pa.scalar(1.0, pa.float32())
_PARTS = ("mean_sample_weight", "wrong_share", "mean_margin", "mean_influence", "loss_early", "loss_late")


def _audited(
    directory: RunDirectory,
    of: dict[str, NDArray[Any]],
    classes: Sequence[str],
    known: Found | str,
    *,
    weighs: bool,
    mentored: bool,
) -> Audit:
    given, suggested = of["given"], of["suggested"]
    is_unlearnt = knows_nothing(given, suggested, len(classes))
    says = bool((suggested >= 0).any()) and not is_unlearnt
    equal = _weigh_the_same(of)
    told: list[str] = []
    if says:
        u = suspicion(of["mean_margin"], of["mean_influence"])
        score = score_of(u)
        if isinstance(known, str):
            is_issue = (score > 0.5) & (suggested != given) & (suggested != UNKNOWN)
            rate, matrix = noise_rate(u, is_issue), noise_matrix(given, suggested, is_issue, len(classes))
        else:
            rate, matrix = noise.estimated(known, given, len(classes))
            is_issue = noise.most_suspicious(score, given, suggested, matrix)
        told += [notes.EQUAL] if equal and weighs else []
        told += [] if mentored else [notes.MEMORISED]
        told += [notes.UNTRUSTED.format(why=known)] if isinstance(known, str) else []
        told += [notes.MAYBE_NONE] if rate.trusted and rate.count and not rate.low else []
    else:
        score = by_ranks(of["loss_early"] + of["loss_late"], of["mean_sample_weight"])
        is_issue, rate, matrix = None, None, None
        told += [notes.UNLEARNT if is_unlearnt else notes.NO_PREDICTIONS, *([notes.EQUAL] if equal else [])]
    order = np.lexsort((of["id"], -score))
    columns: dict[str, Any] = {
        "sample_id": of["id"][order],
        "given_label": named(given[order], classes),
        "suggested_label": named(suggested[order], classes),
        "suggested_share": or_null(of["suggested_share"][order]),
        "score": score[order],
        "is_issue": pa.nulls(len(order), pa.bool_()) if is_issue is None else is_issue[order],
        **{name: or_null(of[name][order]) for name in _PARTS},
    }
    if (of["true"] >= 0).all():
        columns["true_label"] = named(of["true"][order], classes)
    table = with_ids(pa.table(columns), directory)
    return Audit(table, tuple(classes), rate, matrix, tuple(told))
