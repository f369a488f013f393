"""A run waits for machines that an autoscaler has yet to bring; elsewhere, and for what never comes, it does not.

The autoscaler is Ray's own; its machines are processes of this one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from heads import ROOT, a_head, said, wait_for
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FAKE_HEAD_NODE_TYPE

from ray_mentor.on_ray.session.growth import Needs, has_autoscaler
from ray_mentor.on_ray.session.internals import of_autoscaler

SCALING = {
    "cluster_name": "small",
    "provider": {"type": "fake_multinode", "use_node_id_as_ip": True, "disable_node_updaters": True,
                 "disable_launch_config_check": True},
    "auth": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "worker_setup_commands": [],
    "worker_start_ray_commands": [],
    "max_workers": 1,
    "idle_timeout_minutes": 10,
    "head_node_type": FAKE_HEAD_NODE_TYPE,
    "available_node_types": {
        FAKE_HEAD_NODE_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 2}, "node_config": {}, "min_workers": 0, "max_workers": 1},
    },
}  # fmt: skip
OF_THE_AUTOSCALER = {
    "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID
}  # fmt: skip

WAITS = """
import ray
from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.growth import Needs, has_autoscaler
from ray_mentor.on_ray.session.session import ray_session

with ray_session(Needs({"CPU": 1.0}, 2), verbose=False, node_seconds=200, tell=print):
    print(has_autoscaler(), ray.cluster_resources()["CPU"])
    try:
        with ray_session(Needs({"CPU": 3.0}), verbose=False, node_seconds=2, tell=print):
            print("too much")
    except UserError as error:
        print(error)
    groups = ray.util.placement_group_table().values()
    print({group["state"] for group in groups})
"""


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_waits_for_a_machine_of_the_autoscalers(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with a_head(cpus=0, scaling=SCALING, **OF_THE_AUTOSCALER) as head:
        (head.home / "waits.py").write_text(WAITS)
        run = head.shell(
            "exec python waits.py", log=log, RAY_ADDRESS=f"127.0.0.1:{head.port}",
            RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_AUTH_MODE="token", PYTHONPATH=str(ROOT),
        )  # fmt: skip
        wait_for(lambda: run.poll() is not None, head.process, log)
        assert run.wait() == 0, said(log)
    assert said(log).splitlines() == [
        "waiting for the cluster's autoscaler, 200 s at most: 2 CPUs (now 0)",
        "True 2.0",
        "waiting for the cluster's autoscaler, 2 s at most: 3 CPUs (now 2)",
        "the workers need 3 CPUs, but there are 2; give fewer workers; the autoscaler brought no more in 2 s "
        "(`ray status` says why)",
        "{'REMOVED'}",
    ]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a cluster with so many CPUs and such an autoscaler's report in the place of Ray's."""

    def see(cpus: float, report: dict[str, Any] | None) -> None:
        monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": cpus})
        monkeypatch.setattr(of_autoscaler, "is_autoscaler_v2", lambda: False)
        monkeypatch.setattr(of_autoscaler, "_FIRST_REPORT", 0.0)
        bytes_of_it = None if report is None else json.dumps(report).encode()
        monkeypatch.setattr(of_autoscaler, "_internal_kv_get", lambda key: bytes_of_it)

    return see


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (None, False),
        ({}, False),
        ({"autoscaler_report": {"active_nodes": {"node_0123456789abcdef": 1}, "pending_launches": {}}}, False),
        ({"autoscaler_report": {"active_nodes": {"head": 1}, "pending_launches": {}}}, True),
        ({"autoscaler_report": {"active_nodes": {}, "pending_launches": {"gpu_worker": 2}}}, True),
    ],
)
def test_an_autoscaler_is_known_by_the_types_of_its_machines(
    seen: Callable[..., None], report: dict[str, Any] | None, expected: bool
) -> None:
    seen(0.0, report)
    assert has_autoscaler() is expected


def test_what_is_lacking() -> None:
    assert Needs({"CPU": 1.0, "GPU": 1.0}, 2).lacking({"CPU": 8.0}) == {"GPU": 2.0}
    assert Needs({"CPU": 1.0, "GPU": 0.5}, 2).lacking({"CPU": 2.0, "GPU": 1.0}) == {}
    assert Needs({}).lacking({}) == {}
