"""What we use of Ray without its promise is in one folder, and what of it can be tried without a Ray."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2.api import data_parallel_trainer

from ray_mentor.on_ray.session.environment import hangs_end_after
from ray_mentor.on_ray.session.internals import of_ray
from ray_mentor.on_ray.session.internals.of_trainer import controllers_have

ROOT = Path(__file__).parents[3]
THE_FOLDER = ROOT / "ray_mentor/on_ray/session/internals"
OTHERS = [path for folder in ("ray_mentor", "tune_spaces", "cluster", "examples", "benchmarks")
          for path in sorted((ROOT / folder).rglob("*.py")) if THE_FOLDER not in path.parents]  # fmt: skip

NOT_PROMISED = {"autoscaler", "experimental", "v2", "client"}
"""Modules of Ray's that have no underscore, and none of its documentation's promises."""


def uses(source: str) -> list[str]:
    """The names of Ray's that the code uses and Ray does not promise."""
    return [name for node in ast.walk(ast.parse(source)) for name in names(node) if is_private(name)]


def names(node: ast.AST) -> Iterator[str]:
    """What may be a name of Ray's, with its dots."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    if isinstance(node, ast.Attribute):
        yield ast.unparse(node)
    if isinstance(node, ast.Call):
        function = ast.unparse(node.func)
        yield from (f"{function}.{each.arg}" for each in node.keywords if each.arg is not None)


def is_private(name: str) -> bool:
    first, *rest = name.split(".")
    return first == "ray" and any(part.startswith("_") or part in NOT_PROMISED for part in rest)


def test_there_is_something_to_look_through() -> None:
    assert {"trainer.py", "session.py", "growth.py", "scaling.py", "submit_job.py"} <= {path.name for path in OTHERS}
    assert "ray._private.ray_constants" in uses((THE_FOLDER / "of_ray.py").read_text())


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_file_uses_what_ray_does_not_promise(path: Path) -> None:
    assert uses(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import ray._private.services",
        "from ray._private import ray_constants",
        "from ray.train.v2._internal import constants",
        "from ray.train.v2.api.config import RunConfig",
        "from ray.autoscaler.sdk import request_resources",
        "from ray.experimental.internal_kv import _internal_kv_get",
        "def f():\n    from ray._raylet import GcsClient",
        "ray._private.worker.global_worker.connected",
        "ray.util.client.ray.is_connected()",
        "ray.init(address='local', _temp_dir='/tmp/x')",
    ],
)
def test_such_a_line_is_found(line: str) -> None:
    assert len(uses(line)) >= 1


@pytest.mark.parametrize(
    "line",
    [
        "import ray.train\nimport ray",
        "from ray.train import ScalingConfig",
        "from ray.actor import ActorHandle",
        "ray.init(address='local', log_to_driver=False)",
        "self._ray._private",
        "from ray_mentor.on_ray.session import internals",
        "ray_mentor._x",
    ],
)
def test_a_harmless_line_is_not(line: str) -> None:
    assert uses(line) == []


def handed_on() -> dict[str, str]:
    """What a controller of Ray Train would get that is started here."""
    return data_parallel_trainer.get_env_vars_to_propagate()  # type: ignore[attr-defined, no-any-return]


TIMEOUT = "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"


def test_a_controller_gets_what_its_run_says_and_what_the_environment_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TRAIN_COLLECTIVE_TIMEOUT_S", "5")
    found = {**get_env_vars_to_propagate(), "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": "5"}
    with controllers_have({"RAY_ADDRESS": "10.0.0.1:6379"}), hangs_end_after(7.5):
        assert handed_on() == {**found, "RAY_ADDRESS": "10.0.0.1:6379", TIMEOUT: "7.5"}
    assert handed_on() == found


def test_runs_in_threads_have_each_their_own() -> None:
    both = threading.Barrier(2)
    seen: dict[float, str] = {}

    def run(seconds: float) -> None:
        with hangs_end_after(seconds):
            both.wait(30)
            seen[seconds] = handed_on()[TIMEOUT]
            both.wait(30)

    threads = [threading.Thread(target=run, args=(seconds,)) for seconds in (7.0, 77.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert seen == {7.0: "7", 77.0: "77"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ('{"metadata": {}}', {}),
        ('{"runtime_env": null}', {}),
        ('{"runtime_env": {"env_vars": {"A": "1"}}, "metadata": {}}', {"env_vars": {"A": "1"}}),
    ],
)
def test_what_a_job_was_submitted_with(
    monkeypatch: pytest.MonkeyPatch, text: str | None, expected: dict[str, object] | None
) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    if text is not None:
        monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", text)
    assert of_ray.jobs_runtime_env() == expected
