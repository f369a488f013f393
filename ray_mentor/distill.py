"""One rule from its arguments: the run, the runs that it is held against, the file, and training with it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ray_mentor.config import TrainConfig
from ray_mentor.core.mentor.rule import RULE_FILE
from ray_mentor.core.methods.table import burn_in_of, mixing_of
from ray_mentor.errors import UserError, printable
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import CONFIG, METRICS, RESULT, RunDirectory
from ray_mentor.run.distilling.distilled import Distilled, distilled
from ray_mentor.run.findings.new_files import check_free, write_new
from ray_mentor.training import train
from ray_mentor.wording import counted

_SHOWN = {"r_squared": "R²", "spearman": "Spearman", "spearman_in_step": "in a step", "agreement": "same side of ½"}


def distill(runs_of: list[str], out: str | None, on: Sequence[str] = (), *, verify: bool = False) -> None:
    """Makes a rule, writes it, and says how good it is.

    Args:
        runs_of: folders of the runs.
        out: where the rule goes; None: into the run's folder.
        on: folders of runs of other seeds, that the rule is held against.
        verify: train students with the rule and without any, as those runs were.

    Raises:
        UserError: whatever the user can mend.
    """
    out = _in_its_folder(runs_of) if out is None else out
    check_free(out)
    runs, others = ([RunDirectory(path) for path in paths] for paths in (runs_of, on))
    to_verify = [_Verified(directory, out) for directory in others or runs] if verify else []
    found = distilled(runs, others)
    write_new(out, lambda file: file.write(found.rule.text().encode()))
    for line in lines(found):
        print(printable(line))
    print(printable(f"the rule, which weighs by {found.name}, is in {out}"))
    if to_verify:
        print(printable(closed_gap([one.accuracies() for one in to_verify], _on_what(to_verify))))


def _in_its_folder(runs: list[str]) -> str:
    """Where the rule of one run goes, if nobody says.

    Raises:
        UserError: no run; of several, or of one that is elsewhere, it has to be said.
    """
    if len(runs) > 1:
        raise UserError(f"a rule of {len(runs)} runs lies in no folder of theirs; say where it goes: --out FILE")
    if "://" in runs[0]:
        raise UserError(f"{runs[0]} is no folder of this machine; say where the rule goes: --out FILE")
    started_with(RunDirectory(runs[0]), "give the folder of a run")
    return str(Path(runs[0]) / RULE_FILE)


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

    Where no truth of the test split is known it is by the last epoch's accuracy on held-out trusted samples: the kept
    student's is that of the epoch that had most of them right, which flatters whoever has many epochs to choose from.

    Raises:
        UserError: it isn't finished, has no accuracy on labels that are right, or data or student of its own; or one of
            the runs that it is held against is there already.
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
        result = json.loads(written)
        self.held_out = 0 if result.get("test_accuracy") is not None else int(result.get("trusted_held_out") or 0)
        metrics = {} if self.held_out == 0 else _last_metrics(directory)
        self._accuracy = _accuracy_of(result, metrics)
        for what in (_BY_RULE, _PLAIN):
            there = RunDirectory.within(self._config.run.storage_path, self._name(what))
            if there.read(CONFIG) is not None:
                raise UserError(f"--verify trains the run {there.path}, which is there already; remove it first")

    def _name(self, what: str) -> str:
        return f"{self._config.run.run_name}-{what}"

    def accuracies(self) -> tuple[float, float, float]:
        """Of the mentor, the rule and equal weights."""
        schedule, settings = self._config.curriculum, self._config.mentor
        same = {
            "mixing": mixing_of(schedule, settings, own_loss=False, floats=True),
            "burn_in": burn_in_of(schedule, self._config.run.epochs),
        }
        rule = self._trained(_BY_RULE, method=f"rule:{self._file}", **same)
        return self._accuracy, rule, self._trained(_PLAIN, method="uniform", mixing="none", burn_in=None)

    def _trained(self, what: str, **changes: Any) -> float:
        config = self._config.changed(run_name=self._name(what), resume=False, resume_or_start=False, **changes)
        outcome = train(config)
        return _accuracy_of(outcome.result, outcome.metrics[-1] if self.held_out else {})


_BY_RULE, _PLAIN = "by-rule", "plain"


def _last_metrics(directory: RunDirectory) -> dict[str, Any]:
    rows = list(csv.DictReader(io.StringIO((directory.read(METRICS) or b"").decode())))
    return rows[-1] if rows else {}


def _accuracy_of(result: Mapping[str, Any], metrics: Mapping[str, Any]) -> float:
    """On the test split, of the kept student; where its truth is not known the last epoch's, on trusted samples."""
    for value in (result.get("test_accuracy"), metrics.get("trusted_accuracy")):
        if value not in (None, ""):
            return float(value)
    raise UserError("--verify compares accuracies, but none is known here; give a run with trusted samples")


def _on_what(verified: Sequence[_Verified]) -> str:
    fewest = min(one.held_out for one in verified)
    return f" on {fewest} held-out trusted samples in the last epoch" if fewest else ""


def closed_gap(accuracies: list[tuple[float, float, float]], on: str = "") -> str:
    """How much of what the mentor gains over equal weights the rule gains, by means over runs.

    Args:
        on: what they were measured on, where that is not a test split.
    """
    mentor, rule, plain = np.mean(accuracies, axis=0)
    said = f"accuracy{on} of the mentor {mentor:.3f}, the rule {rule:.3f}, equal weights {plain:.3f}"
    over = f"{said} ({counted(len(accuracies), 'run')} each)"
    if mentor <= plain:
        return f"{over}: there is no gap to close"
    return f"{over}: the rule closes {100 * (rule - plain) / (mentor - plain):.0f} % of the gap that the mentor closes"
