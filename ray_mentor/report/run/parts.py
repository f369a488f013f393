"""The figures of a run's page in their order, and what is said of each."""

from __future__ import annotations

import shlex

from ray_mentor.core.mentor.mentor_file import MENTOR_FILE
from ray_mentor.core.mentor.rule import RULE_FILE
from ray_mentor.report.page.drawing import Figure
from ray_mentor.report.page.html import code, escaped
from ray_mentor.report.run.figures.curves import (
    ACCURACIES,
    BITS,
    accuracy_figure,
    groups_figure,
    guards_figure,
    is_of_text,
    losses_figure,
    rate_figure,
    settings_figure,
    speed_figure,
    time_figure,
)
from ray_mentor.report.run.figures.matrix import matrix_figure
from ray_mentor.report.run.figures.policy import by_loss_figure, grid_figure, plane_figure
from ray_mentor.report.run.figures.rule import rule_figure
from ray_mentor.report.run.figures.shares import influences_figure, shares_figure
from ray_mentor.report.run.figures.weights import belief_figure, classes_figure, histogram_figure, use_figure
from ray_mentor.report.run.folder import MENTOR, Folder
from ray_mentor.report.run.head import columns
from ray_mentor.report.run.ledger_facts import LedgerFacts
from ray_mentor.report.run.policy_grid import Grid
from ray_mentor.report.run.rule import Ruled, below_rule
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.directory import LEDGER, METRICS, RESULT
from ray_mentor.run.findings.group_figures import BY_GROUP
from ray_mentor.run.mixture.table import MIXTURE
from ray_mentor.run.tally import PREFIX

Part = tuple[str, str, str, Figure | None, str]
"""Of the page: the name of its place, title, caption, figure, and what is said where there is none."""

_ROWS = f"{LEDGER}/"


def of_metrics(folder: Folder) -> list[Part]:
    """How the run went."""
    lacks = "No epoch has ended yet."
    kept = " The dotted line is the epoch whose student is kept." if folder.result else ""
    says = (
        "Where labels may be wrong, agreement with them is no accuracy: of a share r of wrong ones even a perfect "
        "student agrees with 1 − r."
    )
    title, names = "Accuracy", ACCURACIES
    if is_of_text(folder):
        title, says, names = (
            "Bits per byte",
            "Of text that nobody trains on, the mean over its bytes: less is better.",
            BITS,
        )
    return [
        (
            "accuracy",
            title,
            f"{says}{kept} " + columns([name for name in names if folder.has(name)] or list(names), METRICS),
            accuracy_figure(folder),
            lacks,
        ),
        (
            "losses",
            "Losses",
            (
                "The mentor makes the meta loss small; where the held-out part rises while the other falls, it learns "
                "the trusted samples by heart. " + columns(["loss", "meta_loss", "meta_holdout_loss"], METRICS)
                if folder.has("meta_loss")
                else columns(["loss", "meta_holdout_loss"], METRICS)
            ),
            losses_figure(folder),
            lacks,
        ),
        (
            "guards",
            "Guards and memorising",
            "Where the mentor believed next to no sample, all count the same for that step. The more the student knows "
            "its training samples by heart, beside trusted ones that it has not seen, the more steps mix their samples "
            "in pairs, which hinders that. " + columns(["fallbacks", "memorised"], METRICS),
            guards_figure(folder),
            "The mentor was never overruled, and nothing is mixed by what the student memorises.",
        ),
        (
            "time",
            "Where the time went",
            "Of the last start of the run; training by its parts, as rank 0 saw them. On a GPU, whose work is waited "
            "for later than it is asked for, a second may count to the part that waits. "
            + columns(["phase_seconds", "part_seconds"], RESULT),
            time_figure(folder),
            "Said when the run has come to its end.",
        ),
        (
            "settings",
            "What other settings would have done",
            "To the meta loss, to first order, in the one step that each of the mentor's updates looked at: below 0, "
            "more of it would have helped. Of what counts as a factor, per factor e; of label smoothing, per unit. One "
            "step ahead is not the end of training: a smaller learning rate looks better in each step than it is "
            "(short-horizon bias), and weight decay before a batch norm says what the learning rate says. "
            + columns([PREFIX + name for name in ("log_learning_rate", "weight_decay", "momentum")], METRICS),
            settings_figure(folder),
            "Said where a mentor learns, by the student's own SGD or Adam.",
        ),
        *of_learned(folder),
        ("speed", "Speed", columns(["samples_per_second"], METRICS), speed_figure(folder), lacks),
    ]


def of_learned(folder: Folder) -> list[Part]:
    """What the run learns of its own settings; nothing where it learns none."""
    figure = rate_figure(folder)
    if figure is None:
        return []
    text = (
        "At the end of each epoch: the schedule's times a factor, which is learnt in the first part of training. It "
        "begins at a thousandth, and doubles until the loss no longer falls along the steps taken. "
        + columns(["learning_rate", "learning_rate_factor", "times_put_back"], METRICS)
    )
    return [("rate", "The learning rate", text, figure, "")]


def of_groups(folder: Folder) -> list[Part]:
    """How the student does on each group; nothing where nobody says of which group samples are."""
    found = groups_figure(folder)
    if found is None:
        return []
    figure, name = found
    says = "A rare group hides in the mean over samples. "
    if name == "test_agreement":
        says += "Of a group with wrong labels the agreement with them is lower than its accuracy. "
    title = f"By group: {ACCURACIES[name][0]}"
    return [("groups", title, says + columns([f"{name}{BY_GROUP}GROUP"], METRICS), figure, "")]


def of_mixture(folder: Folder) -> list[Part]:
    """Which share each source had; nothing where nothing is mixed."""
    if not folder.mixture:
        return []
    none = "Shares that nobody learns: no update looked at what samples do to a target."
    return [
        (
            "shares",
            "Shares of the sources",
            "How much of the training each source is. A share holds for a window of steps, in whole samples. "
            + columns(["share"], MIXTURE),
            shares_figure(folder.mixture),
            "No step has been taken yet.",
        ),
        (
            "influences",
            "What a sample more of each source would do",
            "Below 0 the target's loss would fall; only differences between sources move shares. Bars: a standard "
            "error. What odm and doge go by instead is drawn likewise. "
            + columns(["influence", "standard_error"], MIXTURE),
            influences_figure(folder.mixture),
            none,
        ),
    ]


def of_weights(folder: Folder, facts: LedgerFacts | None, lacks: str) -> list[Part]:
    """How far samples were believed."""
    apart = "Right and wrong labels are told apart by the true ones. " if facts and facts.truth else ""
    return [
        (
            "belief",
            "How far labels are believed",
            f"The mean of what {folder.weigher} said; in the burn-in nobody asks, and all weights are 1. {apart}"
            + columns(["scored_weight"], _ROWS),
            None if facts is None else belief_figure(facts),
            lacks,
        ),
        (
            "use",
            "Effective sample size and data utilisation",
            "Effective sample size: (Σw)² / Σw², the number of equally weighted samples that would be as noisy. Data "
            "utilisation: Σw / n, how much of the samples' say was used. " + columns(["sample_weight"], _ROWS),
            None if facts is None else use_figure(facts),
            lacks,
        ),
        (
            "histogram",
            "How the weights spread",
            f"{apart}Move the slider through the training. " + columns(["scored_weight"], _ROWS),
            None if facts is None else histogram_figure(facts),
            lacks,
        ),
        (
            "classes",
            "Weights by class",
            "Mean weight of the samples that are given each label. " + columns(["given_label", "scored_weight"], _ROWS),
            None if facts is None else classes_figure(facts, folder.classes),
            lacks,
        ),
    ]


_LEAST_SPREAD = 1e-3


def of_policy(folder: Folder, facts: LedgerFacts | None, grid: Grid | None, no_grid: str, lacks: str) -> list[Part]:
    """What was made of losses."""
    if facts is not None and facts.spread < _LEAST_SPREAD:
        facts, lacks = None, "All samples were given the same weight, whatever their loss."
    sees = f" It also sees {escaped(grid.sees)}." if grid is not None and grid.sees else ""
    over = "as the mentor learned" if folder.weigher == MENTOR else "over the training"
    parts: list[Part] = [
        (
            "policy",
            f"Weight against loss, {over}",
            "Lines: the mean weight at each loss. Behind them: where samples lie, the darker the more. "
            + columns(["loss", "scored_weight"], _ROWS),
            None if facts is None else by_loss_figure(facts),
            lacks,
        ),
        (
            "plane",
            "Weight over loss and loss difference",
            "The mean weight in each cell that had samples. Loss difference: the loss less the running percentile of "
            "the batches' losses, computed again from the ledger. " + columns(["loss", "scored_weight"], _ROWS),
            None if facts is None else plane_figure(facts),
            lacks,
        ),
    ]
    if folder.weigher != MENTOR:
        return parts
    return [
        *parts,
        (
            "grid",
            "What the mentor would say, beside what it said",
            f"At the left the mentor as it ended, asked about each cell, also where no sample is.{sees} "
            f"{columns(['its params'], MENTOR_FILE)} {columns(['loss', 'scored_weight'], _ROWS)}",
            None if facts is None or grid is None else grid_figure(facts, grid),
            lacks if facts is None else no_grid,
        ),
    ]


def of_rule(
    folder: Folder, facts: LedgerFacts | None, ruled: Ruled | None, no_rule: str, lacks: str
) -> tuple[Part, str]:
    """The rule that was made of the run, and what comes below its figure."""
    title, said = f"{str(folder.weigher).capitalize()} as a rule", ""
    if facts is not None and facts.spread < _LEAST_SPREAD:
        ruled, no_rule = None, "All samples were given the same weight: no rule can be made of that."
    if ruled is not None:
        said = (
            f"It weighs by {escaped(ruled.rule.says)}, and costs nothing: "
            f"{code(f'ray-mentor train --method rule:{_typed(folder.path, RULE_FILE)}')}. Line: the rule. Dots: the "
            f"mean of what {folder.weigher} said of the samples that lie nearest, the larger the more these are. "
            f"{columns(['weights'], RULE_FILE)} {columns(['loss', 'scored_weight'], _ROWS)}"
        )
    figure = None if ruled is None else rule_figure(ruled)
    below = "" if ruled is None else below_rule(ruled, folder)
    return ("rule", title, said, figure, no_rule if facts is not None else lacks), below


def _typed(*parts: str) -> str:
    """A path as a shell takes it."""
    return shlex.quote("/".join(parts))


def of_confusions(audit: Audit | None, lacks: str) -> list[Part]:
    """Which labels are given for which."""
    return [
        (
            "matrix",
            "Which labels were taken for which",
            "Samples that the audit takes for wrong: rows the given label, columns the suggested one. "
            + columns(["given_label", "predicted_label", "margin"], _ROWS),
            None if audit is None else matrix_figure(audit),
            lacks if audit is None else "No sample is taken for wrong, or there are too many classes to draw.",
        )
    ]
