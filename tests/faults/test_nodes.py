"""A node that dies: the run goes on with the workers that are left, and loses nothing of what it knew."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accidents
import pytest
import ray
import ray.train
from accidents import Slow
from driver import A_LONG_TIME
from ray.cluster_utils import Cluster
from small_runs import (
    EPOCHS,
    LARGE,
    MENTOR,
    STEPS,
    UNMIXED,
    assert_one_row_per_sample_and_epoch,
    carried,
    names_in,
    trainer_for,
)

from ray_mentor.data import Splits

ray.cloudpickle.register_pickle_by_value(accidents)  # type: ignore[attr-defined]
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[attr-defined]


HEAD = {"num_cpus": 0, "include_dashboard": False, "dashboard_port": None}  # by default 8265, which may be taken


pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head without CPUs. It says where it is to all who look for a Ray: in a folder of its own."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="rm", dir="/tmp") as folder:
        patch.setenv("RAY_TMPDIR", folder)  # short: Ray's sockets lie in it
        patch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "30")  # two workers must make it on a busy machine
        made = Cluster(initialize_head=True, head_node_args=HEAD)
        try:
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


def test_a_node_that_dies(cluster: Cluster, small_splits: Splits, tmp_path: Path) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=cluster.address, configure_logging=False, log_to_driver=False)
    mentor = dataclasses.replace(MENTOR, mentor_features=("loss", "history"), history_length=LARGE)
    whole = trainer_for(small_splits, tmp_path, "whole", mentor=mentor, curriculum=UNMIXED).fit()
    rows: list[dict[str, Any]] = []

    def lose_a_node() -> None:
        deadline = time.monotonic() + A_LONG_TIME
        while not list((tmp_path / "run" / "checkpoints").glob(f"step-{7:012d}-*.pt")):
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)
        cluster.remove_node(nodes[1], allow_graceful=False)

    thread = threading.Thread(target=lose_a_node)
    thread.start()
    outcome = trainer_for(
        small_splits,
        tmp_path,
        "run",
        mentor=mentor,
        curriculum=UNMIXED,
        optimizer=Slow(0.3),
        checkpoint_steps=1,
        scaling_config=ray.train.ScalingConfig(num_workers=(1, 2)),
    ).fit(rows.append)
    thread.join()
    progress = [row["progress"] for row in rows if row["kind"] == "started"]
    assert len(progress) == 2
    assert progress[1] >= 7 / STEPS
    ledger = outcome.ledger()
    assert_one_row_per_sample_and_epoch(ledger, small_splits)
    files = names_in(Path(outcome.path) / "ledger")
    epoch = STEPS // EPOCHS
    assert f"step-{0:012d}-{epoch:012d}-rank-0001.parquet" in files
    assert f"step-{STEPS - epoch:012d}-{STEPS:012d}-rank-0000.parquet" in files
    assert f"step-{STEPS - epoch:012d}-{STEPS:012d}-rank-0001.parquet" not in files
    history, expected = (carried(run)["curriculum"]["history"] for run in (outcome, whole))
    assert history[:, :EPOCHS].isfinite().all()
    assert history[:, EPOCHS:].isnan().all(), "each loss counts once"
    assert abs(history - expected).nan_to_num().max() < 1e-3  # two ranks add gradients in another order than one
    assert outcome.result["test_accuracy"] > 0.9
