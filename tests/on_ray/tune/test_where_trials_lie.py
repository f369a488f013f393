"""Where the processes of trials with workers lie in a cluster whose head is kept free of training."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.cluster_utils import Cluster
from small_sweeps import BASE, having

from ray_mentor.on_ray.train.gate import gate_here
from ray_mentor.on_ray.tune.room import PROCESS_BYTES, reserved

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[attr-defined]

pytestmark = [pytest.mark.slow, pytest.mark.ray]

HEAD = {"num_cpus": 0, "include_dashboard": False, "dashboard_port": None}  # by default 8265, which may be taken
TRIALS = 6


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="rm", dir="/tmp") as folder:
        patch.setenv("RAY_TMPDIR", folder)  # short: Ray's sockets lie in it
        made = Cluster(initialize_head=True, head_node_args=HEAD)
        try:
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


class Lies(tune.Trainable):
    """A trial that tells where it lies, and where a gate that it makes does."""

    def setup(self, config: dict[str, Any]) -> None:
        self._gate: Any = gate_here()

    def step(self) -> dict[str, Any]:
        here = ray.get_runtime_context().get_node_id
        there = ray.get(self._gate.__ray_call__.remote(lambda gate: ray.get_runtime_context().get_node_id()))
        return {"trial": here(), "gate": there, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        pass


def test_trials_with_workers_leave_the_head_alone_and_gates_lie_with_them(cluster: Cluster, tmp_path: Path) -> None:
    with_cpus = {cluster.add_node(num_cpus=1).node_id for _ in range(2)}
    ray.init(address=cluster.address, configure_logging=False, log_to_driver=False)
    places = reserved(having(BASE, workers=2).run)
    assert places.bundles == [{"memory": PROCESS_BYTES}]
    found = tune.run(
        tune.with_resources(Lies, places),
        num_samples=TRIALS,
        storage_path=str(tmp_path),
        max_concurrent_trials=TRIALS,
        max_failures=3,  # a busy machine loses an actor now and then
        verbose=0,
    )
    assert len(found.trials) == TRIALS
    for trial in found.trials:
        assert trial.last_result["trial"] in with_cpus
        assert trial.last_result["gate"] == trial.last_result["trial"]


def test_a_trial_of_one_process_reserves_its_memory_too(cluster: Cluster) -> None:
    cluster.add_node(num_cpus=2, memory=100 << 20)
    ray.init(address=cluster.address, configure_logging=False, log_to_driver=False)
    assert reserved(having(BASE, workers=0).run).bundles == [{"CPU": 1.0, "memory": 100 << 20}], "or it had no place"
