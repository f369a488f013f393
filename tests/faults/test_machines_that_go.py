"""A machine that is about to be taken away, as the cloud, Kubernetes and Slurm say beforehand by way of Ray."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.train
from accidents import Slow
from driver import A_LONG_TIME
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2
from small_runs import STEPS, UNMIXED, assert_one_row_per_sample_and_epoch, trainer_for

from ray_mentor.data import Splits

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[attr-defined]

pytestmark = [pytest.mark.slow, pytest.mark.ray]

HEAD = {"num_cpus": 0, "include_dashboard": False, "dashboard_port": None}  # by default 8265, which may be taken
NOTICE = 15  # seconds between the warning and the end


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head without CPUs, and two nodes with one each."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="rm", dir="/tmp") as folder:
        patch.setenv("RAY_TMPDIR", folder)  # short: Ray's sockets lie in it
        patch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "30")  # two workers must make it on a busy machine
        made = Cluster(initialize_head=True, head_node_args=HEAD)
        try:
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


def announce(cluster: Cluster, node: Any) -> None:
    """Says that a node will be taken away."""
    deadline = int((time.time() + NOTICE) * 1000)
    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    accepted, why = GcsClient(address=cluster.address).drain_node(node.node_id, reason, "spot", deadline)
    assert accepted, why


def test_a_machine_that_is_announced_to_go(cluster: Cluster, small_splits: Splits, tmp_path: Path) -> None:
    """There is a checkpoint before it goes, though none is due for a minute; and no failure is counted."""
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=cluster.address, configure_logging=False, log_to_driver=False)
    rows: list[dict[str, Any]] = []
    steps_at_notice: list[int] = []

    def lose_a_node() -> None:
        deadline = time.monotonic() + A_LONG_TIME
        while not [row for row in rows if row["kind"] == "step"] and time.monotonic() < deadline:
            time.sleep(0.05)
        announce(cluster, nodes[1])
        time.sleep(NOTICE)
        steps_at_notice.append(len(list((tmp_path / "run/checkpoints").glob("step-*.pt"))))
        cluster.remove_node(nodes[1], allow_graceful=False)

    thread = threading.Thread(target=lose_a_node)
    thread.start()
    outcome = trainer_for(
        small_splits,
        tmp_path,
        "run",
        curriculum=UNMIXED,
        optimizer=Slow(2.0),
        checkpoint_steps=0,
        max_failures=0,
        scaling_config=ray.train.ScalingConfig(num_workers=(1, 2)),
    ).fit(rows.append)
    thread.join()
    assert steps_at_notice[0] >= 1, "a checkpoint was written when it was announced"
    progress = [row["progress"] for row in rows if row["kind"] == "started"]
    assert progress[0] == 0.0
    assert all(0 < later < 1 for later in progress[1:])
    assert len(progress) >= 2
    notes = [row["text"] for row in rows if row["kind"] == "note"]
    assert len([note for note in notes if note.endswith("all workers start again without it")]) == 1, notes
    assert outcome.result["steps"] == STEPS
    assert_one_row_per_sample_and_epoch(outcome.ledger(), small_splits)
