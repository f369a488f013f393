"""One HTML page of a run: what ran, how it went, and what its mentor did."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet

from ray_mentor.errors import UserError
from ray_mentor.report.page.document import document, foot, section
from ray_mentor.report.page.drawing import Figure
from ray_mentor.report.page.html import escaped
from ray_mentor.report.run.figures.curves import (
    accuracy_figure,
    guards_figure,
    losses_figure,
    speed_figure,
    time_figure,
)
from ray_mentor.report.run.figures.weights import belief_figure, classes_figure, histogram_figure, use_figure
from ray_mentor.report.run.folder import Folder, read_folder
from ray_mentor.report.run.head import columns, head, settings_section
from ray_mentor.report.run.ledger_facts import LedgerFacts, ledger_facts
from ray_mentor.run.directory import LEDGER, METRICS, RESULT, RunDirectory

_LONG = 1000  # characters of what is said where something can't be read
Part = tuple[str, str, str, Figure | None, str]
"""Of the page: the name of its place, title, caption, figure, and what is said where there is none."""


def page(directory: RunDirectory, *, ended: str | None = None, most_rows: int | None = None) -> str:
    """The whole page, from the run's folder alone.

    Args:
        directory: of a run, whether or not it has come to its end.
        ended: why it was ended early, where that is known.
        most_rows: of a ledger that has more nothing is drawn; None: whatever it has.

    Raises:
        UserError: no run, or a file but the ledger's that cannot be read.
    """
    folder = read_folder(directory)
    facts, lacks = _facts(directory, folder, most_rows)
    parts = [*_of_metrics(folder), *_of_ledger(folder, facts, lacks)]
    figures = {name: figure for name, _, _, figure, _ in parts if figure is not None}
    body = [head(folder, ended), *(section(*part) for part in parts), settings_section(folder)]
    versions = (folder.result or {}).get("versions") or {}
    return document(f"Run {escaped(folder.name)}", "\n".join([*body, foot(versions)]), figures)


def _facts(directory: RunDirectory, folder: Folder, most_rows: int | None) -> tuple[LedgerFacts | None, str]:
    """What the ledger says; or None, and why."""
    try:
        if most_rows is not None and (rows := ledger_rows(directory)) > most_rows:
            return None, f"The ledger has {rows:,} rows; ray-mentor report {escaped(directory.path)} draws them."
        facts = ledger_facts(directory, folder)
    except UserError as error:
        return None, f"Not drawn: {escaped(error, _LONG)}"
    return facts, "The ledger has no rows yet."


def ledger_rows(directory: RunDirectory) -> int:
    """Of the ledger's files, some of which may count no more."""
    count = 0
    for name in directory.names(LEDGER):
        if name.endswith(".parquet"):
            path, files = directory.place(f"{LEDGER}/{name}")
            try:
                count += pyarrow.parquet.read_metadata(path, filesystem=files).num_rows
            except (OSError, pa.ArrowException) as error:
                raise UserError(f"{directory.path}/{LEDGER}/{name} cannot be read ({error}); put it back") from error
    return count


def _of_metrics(folder: Folder) -> list[Part]:
    lacks = "No epoch has ended yet."
    kept = " The dotted line is the epoch whose student is kept." if folder.result else ""
    return [
        (
            "accuracy",
            "Accuracy",
            "Where labels may be wrong, agreement with them is no accuracy: of a share r of wrong ones even a perfect "
            f"student agrees with 1 − r.{kept} "
            + columns(["test_accuracy", "trusted_accuracy", "validation_agreement"], METRICS),
            accuracy_figure(folder),
            lacks,
        ),
        (
            "losses",
            "Losses",
            "The mentor makes the meta loss small; where the held-out part rises while the other falls, it learns the "
            "trusted samples by heart. " + columns(["loss", "meta_loss", "meta_holdout_loss"], METRICS),
            losses_figure(folder),
            lacks,
        ),
        (
            "guards",
            "Guards and memorising",
            "Where the mentor believed next to no sample, all count the same for that step. The student's memorising "
            "is measured on held-out trusted samples. " + columns(["fallbacks", "memorised"], METRICS),
            guards_figure(folder),
            "The mentor was never overruled, and nothing is mixed by what the student memorises.",
        ),
        (
            "time",
            "Where the time went",
            "Of the last start of the run. " + columns(["phase_seconds"], RESULT),
            time_figure(folder),
            "Said when the run has come to its end.",
        ),
        ("speed", "Speed", columns(["samples_per_second"], METRICS), speed_figure(folder), lacks),
    ]


def _of_ledger(folder: Folder, facts: LedgerFacts | None, lacks: str) -> list[Part]:
    truth = facts is not None and facts.truth
    apart = "Right and wrong labels are told apart by the true ones. " if truth else ""
    return [
        (
            "belief",
            "How far labels are believed",
            f"The mean of what the mentor said. {apart}" + columns(["scored_weight"], f"{LEDGER}/"),
            None if facts is None else belief_figure(facts),
            lacks,
        ),
        (
            "use",
            "Effective sample size and data utilisation",
            "Effective sample size: (Σw)² / Σw², the number of equally weighted samples that would be as noisy. Data "
            "utilisation: Σw / n, how much of the samples' say was used. " + columns(["sample_weight"], f"{LEDGER}/"),
            None if facts is None else use_figure(facts),
            lacks,
        ),
        (
            "histogram",
            "How the weights spread",
            f"{apart}Move the slider through the training. " + columns(["scored_weight"], f"{LEDGER}/"),
            None if facts is None else histogram_figure(facts),
            lacks,
        ),
        (
            "classes",
            "Weights by class",
            "Mean weight of the samples that are given each label. "
            + columns(["given_label", "scored_weight"], f"{LEDGER}/"),
            None if facts is None else classes_figure(facts, folder.classes),
            lacks,
        ),
    ]
