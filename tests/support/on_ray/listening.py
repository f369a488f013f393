"""A user's callback of Ray Train's, which writes down what it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ray.train


class WritesDown(ray.train.UserCallback):
    """A line of JSON for each report and error."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        self._write(
            {"run": run_context.get_run_config().name, "metrics": metrics, "path": checkpoint and checkpoint.path}
        )

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        self._write(
            {
                "run": run_context.get_run_config().name,
                "errors": {rank: str(error) for rank, error in worker_exceptions.items()},
            }
        )

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def _write(self, line: dict[str, Any]) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps(line) + "\n")
