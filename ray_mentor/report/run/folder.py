"""What a run's folder says, but for its ledger."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv

from ray_mentor.core.mentor.start import RULE, kind_of
from ray_mentor.core.methods.table import METHODS
from ray_mentor.errors import UserError
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import CONFIG, METRICS, RESULT, RunDirectory
from ray_mentor.run.findings.names import class_names
from ray_mentor.run.mixture.table import read_mixture

Row = Mapping[str, Any]
MENTORNET = "mentornet"
"""What the names of all methods with a mentor begin with."""
MENTOR = "the mentor"


@dataclass(frozen=True)
class Folder:
    """A run as it lies there, whether or not it has ended.

    Attributes:
        path: of the folder.
        name: of the run.
        settings: what it was started with.
        config: the same as it is written.
        metrics: a row an epoch that has ended.
        result: what ``result.json`` holds; None of a run that has not come to its end.
        classes: their names; None where nobody wrote them down.
        mixture: a row a window and source; none where nothing is mixed.
    """

    path: str
    name: str
    settings: Mapping[str, Any]
    config: str
    metrics: Sequence[Row]
    result: Row | None
    classes: list[str] | None
    mixture: Sequence[Row] = ()

    @property
    def weigher(self) -> str | None:
        """Who gave samples their weights, in the page's words; None where all count the same."""
        method = kind_of(str(self.settings.get("method", MENTORNET)))
        if method in METHODS and METHODS[method].says_same:
            return None
        if method.startswith(MENTORNET):
            return MENTOR
        return "the rule" if method == RULE else "the method"

    def values(self, name: str) -> list[Any]:
        """A column of the metrics."""
        return [row.get(name) for row in self.metrics]

    def has(self, name: str) -> bool:
        """Whether the metrics say anything of it."""
        return any(value is not None for value in self.values(name))


def read_folder(directory: RunDirectory) -> Folder:
    """Reads it.

    Raises:
        UserError: no run, or a file that cannot be read.
    """
    settings = started_with(directory, "give the folder that the run named when it began, as in runs/first")
    config = (directory.read(CONFIG) or b"").decode(errors="replace")
    name = str(settings.get("run_name") or directory.path.rstrip("/").rpartition("/")[2])
    result, metrics = _result(directory), _metrics(directory)
    return Folder(
        directory.path, name, settings, config, metrics, result, class_names(directory), read_mixture(directory)
    )


def _result(directory: RunDirectory) -> Row | None:
    written = directory.read(RESULT)
    if written is None:
        return None
    try:
        result = json.loads(written)
        if not isinstance(result, dict):
            raise ValueError("it holds no names")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{directory.path}/{RESULT} cannot be read ({error}); put it back") from error
    return result


def _metrics(directory: RunDirectory) -> list[Row]:
    written = directory.read(METRICS)
    if not written or not written.strip():  # no epoch has ended
        return []
    try:
        rows: list[Row] = pyarrow.csv.read_csv(io.BytesIO(written)).to_pylist()
    except pa.ArrowInvalid as error:
        raise UserError(f"{directory.path}/{METRICS} cannot be read ({error}); put it back") from error
    return rows
