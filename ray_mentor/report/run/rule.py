"""The rule that was made of a run's mentor, beside what the mentor said."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray_mentor.core.mentor.rule import RULE_FILE, Rule
from ray_mentor.errors import UserError
from ray_mentor.report.page.document import copied
from ray_mentor.report.page.html import escaped
from ray_mentor.report.run.folder import Folder
from ray_mentor.run.directory import RunDirectory

if TYPE_CHECKING:
    import pandas as pd

    from ray_mentor.run.distilling.fidelity import Fidelity

FIGURES = {
    "r_squared": "R²",
    "spearman": "Spearman",
    "spearman_in_step": "Spearman in a step",
    "agreement": "same side of ½",
}
_MOST_CLASSES, _MOST = 100, 1e6


@dataclass(frozen=True)
class Ruled:
    """A rule and a run.

    Attributes:
        rule: as the run's folder has it.
        table: of :func:`~ray_mentor.run.distilling.distilled.beside`.
        here: how well it says what this run's mentor said.
    """

    rule: Rule
    table: pd.DataFrame
    here: Fidelity


def ruled_by(directory: RunDirectory) -> Ruled | None:
    """The rule in a run's folder; None where there is none.

    Raises:
        UserError: it is no rule, or one of other classes or of losses in other units than the run's.
    """
    written = directory.read(RULE_FILE)
    if written is None:
        return None
    from ray_mentor.run.distilling.distilled import beside  # noqa: PLC0415 - scikit-learn takes a second
    from ray_mentor.run.distilling.fidelity import fidelity_of  # noqa: PLC0415
    from ray_mentor.run.distilling.fit import said_by  # noqa: PLC0415
    from ray_mentor.run.distilling.rows import rows_of  # noqa: PLC0415

    rule, rows = Rule.of(written, f"{directory.path}/{RULE_FILE}"), rows_of(directory)
    if rule.in_nats != rows.in_nats:
        raise UserError(
            f"{directory.path}/{RULE_FILE} is of losses in other units than the run's; remove it, and make it again"
        )
    return Ruled(rule, beside(rule, rows), fidelity_of(rows, said_by(rule, rows)))


def below_rule(ruled: Ruled, folder: Folder) -> str:
    """How well it says it, what it adds for each class, and its text."""
    made = ruled.rule.made_from
    runs, own = made.get("runs"), folder.path.rstrip("/").rpartition("/")[2]
    is_of_this = isinstance(runs, list) and own in runs
    rows = [_row("this run, which it was made of" if is_of_this else "this run", dataclasses.asdict(ruled.here))]
    on = made.get("measured_on")
    if isinstance(on, list) and on:
        rows.append(_row(f"other runs, when it was made: {', '.join(map(str, on))}", made))
    elif is_of_this and isinstance(on, list):
        rows.append(_row("when it was made: samples of the same run that were held out", made))
    heads = "".join(f"<th scope='col'>{each}</th>" for each in ("how well it says what was said in", *FIGURES.values()))
    return (
        f"<div class='wide' tabindex='0'><table id='rule-fidelity'><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>{_classes(ruled.rule, folder)}"
        f"<details><summary>{RULE_FILE}</summary>{copied('rule-text', ruled.rule.text())}</details>"
    )


def _row(on: str, figures: Mapping[str, Any]) -> str:
    shown = (_three_digits(figures.get(name)) for name in FIGURES)
    return f"<tr><th scope='row'>{escaped(on)}</th>{''.join(f'<td>{each}</td>' for each in shown)}</tr>"


def _three_digits(value: Any) -> str:
    return f"{value:.3f}" if type(value) in (int, float) and abs(value) < _MOST else "–"


def _classes(rule: Rule, folder: Folder) -> str:
    """What is added to the logit of each class's samples, which the figure leaves out."""
    if not len(rule.class_shift):
        return ""
    names = folder.classes or []
    rows = "".join(
        f"<tr><th scope='row'>{escaped(names[label] if label < len(names) else label)}</th><td>{shift:+.2f}</td></tr>"
        for label, shift in enumerate(rule.class_shift[:_MOST_CLASSES].tolist())
    )
    return (
        "<p class='caption'>What is added to the logit of the weight by given label, which the line leaves out.</p>"
        f"<div class='wide' tabindex='0'><table id='rule-classes'><tbody>{rows}</tbody></table></div>"
    )
