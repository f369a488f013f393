"""One rule from its arguments: the run, the runs that it is held against, the file, and training with it."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

import numpy as np
import pandas as pd

from ray_mentor.config import TrainConfig
from ray_mentor.core.methods.table import burn_in_of, mixing_of
from ray_mentor.errors import UserError, printable, shown
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import RESULT, RunDirectory
from ray_mentor.run.distilling.distilled import Distilled, distilled
from ray_mentor.run.distilling.fit import CLOSE_ENOUGH
from ray_mentor.training import train
from ray_mentor.wording import counted

SAYS = (
    "Makes a rule of what a run's mentor said of samples: a table of sample weights over the loss, in a file that "
    "can be read, which costs nothing to weigh by: ray-mentor train --method rule:FILE. It is the smallest of three "
    f"whose R² lies within {CLOSE_ENOUGH:g} of the best."
)
_SHOWN = {"r_squared": "R²", "spearman": "Spearman", "spearman_in_step": "in a step", "agreement": "same side of ½"}


def distill(words: list[str]) -> None:
    """The command.

    Raises:
        UserError: whatever the user can mend.
    """
    parser = argparse.ArgumentParser(prog="ray-mentor distill", description=SAYS, allow_abbrev=False)
    parser.add_argument("runs", metavar="RUN", nargs="+", help="the folder of a run, e.g. runs/first, or several runs'")
    parser.add_argument("--out", metavar="FILE", required=True, help="where the rule goes, e.g. rule.json")
    parser.add_argument(
        "--on", metavar="RUN", nargs="+", default=[], help="runs of other seeds, that the rule is held against"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="train students with the rule and without any, as those runs were (RUN, where there are none)",
    )
    asked = parser.parse_args(words)
    if os.path.lexists(asked.out):
        raise UserError(f"{shown(asked.out)} is there already; give --out another name, or remove it first")
    runs, others = ([RunDirectory(path) for path in paths] for paths in (asked.runs, asked.on))
    to_verify = [_Verified(directory, asked.out) for directory in others or runs] if asked.verify else []
    found = distilled(runs, others)
    with open(asked.out, "x", encoding="utf-8") as file:
        file.write(found.rule.text())
    for line in lines(found):
        print(printable(line))
    print(printable(f"the rule, which weighs by {found.name}, is in {asked.out}"))
    if to_verify:
        print(printable(closed_gap([one.accuracies() for one in to_verify])))


def lines(found: Distilled) -> list[str]:
    """What was fitted and how well, a line each."""
    on = f"{counted(found.others, 'other run')}, mean" if found.others else "samples held out, of the same run"
    head = pd.Index([f"measured on {on}"]).append(found.fidelity.index)
    width = max(map(len, head))
    columns = [_SHOWN[name] for name in found.fidelity.columns]
    table = ["  ".join([head[0].ljust(width), *columns])]
    for name, row in found.fidelity.iterrows():
        values = [
            ("–" if np.isnan(value) else f"{value:.3f}").rjust(len(column))
            for value, column in zip(row, columns, strict=True)
        ]
        mark = "  <" if name == found.name else ""
        table.append("  ".join([str(name).ljust(width), *values]) + mark)
    if not found.others:
        table.append("rows of one run are alike: --on RUN, of another seed, says what the rule is worth elsewhere")
    return table


class _Verified:
    """A run whose mentor is to be replaced by a rule, and once by nothing.

    Raises:
        UserError: it isn't finished, has no accuracy on labels that are right, or data or student of its own.
    """

    def __init__(self, directory: RunDirectory, file: str) -> None:
        settings = started_with(directory, "give the folder of a finished run")
        if not {"data", "student", "storage_path"} <= settings.keys():
            raise UserError(
                f"--verify trains anew, but {directory.path} was made from Python, with data or a student of its own; "
                "train with the method there: CurriculumConfig(method='rule:FILE')"
            )
        self._config = TrainConfig.from_flat(settings)
        self._file = file
        written = directory.read(RESULT)
        if written is None:
            raise UserError(f"--verify compares with how {directory.path} ended, which it hasn't; wait for its end")
        self._result = json.loads(written)
        _accuracy_of(self._result)

    def accuracies(self) -> tuple[float, float, float]:
        """Of the mentor, the rule and equal weights."""
        schedule, settings = self._config.curriculum, self._config.mentor
        same = {
            "mixing": mixing_of(schedule, settings, own_loss=False, floats=True),
            "burn_in": burn_in_of(schedule, self._config.run.epochs),
        }
        rule = self._trained("by-rule", method=f"rule:{self._file}", **same)
        return _accuracy_of(self._result), rule, self._trained("plain", method="uniform", mixing="none", burn_in=None)

    def _trained(self, what: str, **changes: Any) -> float:
        name = f"{self._config.run.run_name}-{what}"
        outcome = train(self._config.changed(run_name=name, resume=False, resume_or_start=False, **changes))
        return _accuracy_of(outcome.result)


def _accuracy_of(result: dict[str, Any]) -> float:
    for name in ("test_accuracy", "trusted_accuracy"):
        if result.get(name) is not None:
            return float(result[name])
    raise UserError("--verify compares accuracies, but none is known here; give a run with trusted samples")


def closed_gap(accuracies: list[tuple[float, float, float]]) -> str:
    """How much of what the mentor gains over equal weights the rule gains, by means over runs."""
    mentor, rule, plain = np.mean(accuracies, axis=0)
    said = f"accuracy of the mentor {mentor:.3f}, the rule {rule:.3f}, equal weights {plain:.3f}"
    over = f"{said} ({counted(len(accuracies), 'run')} each)"
    if mentor <= plain:
        return f"{over}: there is no gap to close"
    return f"{over}: the rule closes {100 * (rule - plain) / (mentor - plain):.0f} % of the gap that the mentor closes"
