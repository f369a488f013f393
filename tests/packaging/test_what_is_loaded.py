"""What the processes of a run load, and what none of them must: each module costs its start, five times in a run."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.long

COMPILER = {"torch._dynamo", "sympy"}
"""PyTorch's, which its optimizers load: two seconds and more."""

OF_REPORTS = {"plotly", "sklearn", "scipy", "matplotlib", "optuna", "rich", "tyro"}
OF_OTHERS = {
    "ray.tune",
    "ray.serve",
    "torchvision",
    "transformers",
    "datasets",
    "timm",
    "mlflow",
    "tensorboardX",
    "lightning",
}
OF_DATA = {"ray.train", "ray.data", "pandas", "pyarrow.parquet", "PIL"}


def loaded(code: str) -> set[str]:
    """The modules of a new process that has run the code."""
    code = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["train", "--help"], ["train", "--help-all"], ["tune", "--help"]]
)
def test_help_loads_neither_pytorch_nor_ray(words: list[str]) -> None:
    found = loaded(f"from ray_mentor.cli import main\nmain({words})")
    assert not found & {"torch", "ray", "numpy", "pandas", "pyarrow", "sklearn", "tyro", "rich", "yaml"}


@pytest.mark.parametrize(
    ("of", "module", "without"),
    [
        ("a worker", "on_ray.train.worker_loop", COMPILER | OF_REPORTS | OF_OTHERS),
        ("the controller's answer to failures", "on_ray.session.failures", COMPILER | OF_REPORTS | OF_OTHERS),
        ("the mentor", "on_ray.mentor.actor", COMPILER | OF_REPORTS | OF_OTHERS | OF_DATA),
        ("the board", "on_ray.train.run_board", COMPILER | OF_REPORTS | OF_OTHERS | OF_DATA | {"torch"}),
        ("the gate", "on_ray.train.gate", COMPILER | OF_REPORTS | OF_OTHERS | OF_DATA | {"torch"}),
        ("what says what signals mean", "on_ray.train.sigterm", COMPILER | OF_REPORTS | OF_OTHERS | {"torch"}),
    ],
)  # fmt: skip
def test_each_process_loads_what_it_needs(of: str, module: str, without: set[str]) -> None:
    assert not loaded(f"import ray_mentor.{module}") & without, of


CHECKED = """
import tempfile
from ray_mentor.config import TrainConfig
from ray_mentor.data.splits.splits import prepare
from ray_mentor.training import make_trainer
config = TrainConfig().changed(workers=2, storage_path=tempfile.mkdtemp())
trainer = make_trainer(config, prepare(config.data, 0))
trainer.check_directory()
"""


def test_the_driver_reads_digits_and_checks_a_run_of_workers_without_what_only_training_needs() -> None:
    found = loaded(CHECKED)
    assert {"torch", "ray.train"} <= found
    assert not found & (COMPILER | {"plotly", "sklearn", "scipy", "ray.tune", "torchvision", "transformers"})
