"""One HTML page of a run: what ran, how it went, what its mentor did, and which labels look wrong."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet

from ray_mentor.core.mentor.networks.evidence import weight_of
from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import UserError
from ray_mentor.report.page.document import document, foot, section
from ray_mentor.report.page.html import code, escaped
from ray_mentor.report.run.evaluation import evaluation_sections
from ray_mentor.report.run.figures.curves import is_of_text
from ray_mentor.report.run.folder import Folder, read_folder
from ray_mentor.report.run.gallery.cards import gallery_section
from ray_mentor.report.run.gallery.script import GALLERY
from ray_mentor.report.run.gallery.source import samples_again
from ray_mentor.report.run.gallery.suspicious import suspicious
from ray_mentor.report.run.head import head, settings_section
from ray_mentor.report.run.ledger_facts import LedgerFacts, ledger_facts
from ray_mentor.report.run.parts import (
    Part,
    of_confusions,
    of_groups,
    of_metrics,
    of_mixture,
    of_policy,
    of_rule,
    of_weights,
)
from ray_mentor.report.run.policy_grid import Grid, policy_grid
from ray_mentor.report.run.rule import Ruled, ruled_by
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.directory import LEDGER, RESULT, RunDirectory
from ray_mentor.run.trained.evaluation import Evaluated

_LONG = 1000  # characters of what is said where something can't be read
_WIDTHS = {"grid": 720}  # pixels that a figure needs
Found = TypeVar("Found")


def page(
    directory: RunDirectory,
    *,
    samples: Samples | None = None,
    ended: str | None = None,
    most_rows: int | None = None,
    audit: Audit | None = None,
) -> str:
    """The whole page, from the run's folder, and for pictures from the data that it was trained on.

    Args:
        directory: of a run, whether or not it has come to its end.
        samples: that it was trained on; None: they are read again, as its settings say.
        ended: why it was ended early, where that is known.
        most_rows: of a ledger that has more nothing is drawn; None: whatever it has.
        audit: of the run; None: it is made.

    Raises:
        UserError: no run, or a file but the ledger's that cannot be read.
    """
    folder = read_folder(directory)
    facts, lacks = _facts(directory, folder, most_rows)
    of_what_was_said, more = _of_what_was_said(directory, folder, facts, lacks)
    no_audit = lacks
    if facts is None:
        audit = None
    elif audit is None:
        audit, no_audit = _tried(functools.partial(Audit.from_run, directory))
    gallery = ""
    if audit is not None and facts is not None:
        gallery = _gallery(directory, folder, audit, facts, samples)
    with _said_by_result(folder):
        begin, end, went = head(folder, ended), settings_section(folder), of_metrics(folder)
        below = foot((folder.result or {}).get("versions") or {})
    parts = [
        *went,
        *of_groups(folder),
        *of_mixture(folder),
        *of_what_was_said,
        *([] if is_of_text(folder) else of_confusions(audit, no_audit)),
    ]
    evaluated, figures = evaluation_sections(*_tried(functools.partial(Evaluated.read, directory)))
    figures |= {name: figure for name, _, _, figure, _ in parts if figure is not None}
    body = [
        begin,
        *(section(*part, _WIDTHS.get(part[0], 0), more.get(part[0], "")) for part in parts),
        evaluated,
        gallery,
        end,
        below,
    ]
    title = f"Run {escaped(folder.name)}"
    return document(title, "\n".join(body), figures, GALLERY if gallery else "")


def _of_what_was_said(
    directory: RunDirectory, folder: Folder, facts: LedgerFacts | None, lacks: str
) -> tuple[list[Part], dict[str, str]]:
    """The parts about sample weights, and what comes below one of them; none where all samples count the same."""
    if folder.weigher is None:
        return [], {}
    grid, no_grid = _grid(directory, folder, facts)
    ruled, no_rule = _rule(directory, folder, facts)
    rule, below = of_rule(folder, facts, ruled, no_rule, lacks)
    policy = of_policy(folder, facts, grid, no_grid, lacks)
    return [*of_weights(folder, facts, lacks), *policy, rule], {rule[0]: below}


@contextmanager
def _said_by_result(folder: Folder) -> Iterator[None]:
    """A file that people and other versions can write lacks what it likes."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{folder.path}/{RESULT} does not hold what a run writes there ({type(error).__name__}: {error}); put it "
            "back, or take it away: the run then counts as one that has not come to its end"
        ) from error


def _tried(what: Callable[[], Found]) -> tuple[Found | None, str]:
    """What was found; or None, and what is wrong with a file."""
    try:
        return what(), ""
    except UserError as error:
        return None, f"Not drawn: {escaped(error, _LONG)}"


def _facts(directory: RunDirectory, folder: Folder, most_rows: int | None) -> tuple[LedgerFacts | None, str]:
    """What the ledger says; or None, and why."""
    rows, lacks = _tried(functools.partial(ledger_rows, directory))
    if rows is None:
        return None, lacks
    if most_rows is not None and rows > most_rows:
        return None, f"The ledger has {rows:,} rows; ray-mentor report {escaped(directory.path)} draws them."
    facts, lacks = _tried(functools.partial(ledger_facts, directory, folder))
    return facts, lacks or "The ledger has no rows yet."


def _grid(directory: RunDirectory, folder: Folder, facts: LedgerFacts | None) -> tuple[Grid | None, str]:
    if facts is None:
        return None, ""
    if folder.settings.get("meta_loss") == "loss":
        return None, "The mentor is shown losses in units of their own, which change as the run goes on."
    grid, lacks = _tried(lambda: policy_grid(directory, facts, by_class=_goes_by_class(folder.settings)))
    return grid, lacks or "The run has written no mentor: none learned in it, or it has not come to its end."


def _rule(directory: RunDirectory, folder: Folder, facts: LedgerFacts | None) -> tuple[Ruled | None, str]:
    if facts is None:
        return None, ""
    ruled, lacks = _tried(functools.partial(ruled_by, directory))
    made = code(f"ray-mentor distill {shlex.quote(folder.path)}")
    return ruled, lacks or f"None has been made of this run: {made} makes one, and this page, written anew, shows it."


def _goes_by_class(settings: Mapping[str, Any]) -> bool:
    return weight_of(settings.get("class_evidence"), settings.get("meta_from", "trusted")) > 0


def _gallery(directory: RunDirectory, folder: Folder, audit: Audit, facts: LedgerFacts, samples: Any) -> str:
    no_samples = ""
    if samples is None:
        samples, no_samples = samples_again(folder.settings)
    found, lacks = _tried(lambda: suspicious(directory, audit, facts.epochs, samples, no_samples))
    if found is None:
        return f"<section><h2>Suspicious samples</h2><p>{lacks}</p></section>"
    return gallery_section(found, audit, facts)


def ledger_rows(directory: RunDirectory) -> int:
    """Of the ledger's files, some of which may count no more.

    Raises:
        UserError: a file is damaged.
    """
    count = 0
    for name in directory.names(LEDGER):
        if name.endswith(".parquet"):
            path, files = directory.place(f"{LEDGER}/{name}")
            try:
                count += pyarrow.parquet.read_metadata(path, filesystem=files).num_rows
            except (OSError, pa.ArrowException) as error:
                raise UserError(
                    f"{directory.path}/{LEDGER}/{name} of the ledger cannot be read ({error}); put it back"
                ) from error
    return count
