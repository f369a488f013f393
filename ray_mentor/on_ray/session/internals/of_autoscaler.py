"""Of Ray's autoscaler."""

from __future__ import annotations

import json
import time

import ray
from ray._private import ray_constants
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.experimental.internal_kv import _internal_kv_get

_MADE_UP = "node_"  # the beginning of the type that an autoscaler gives a machine which it has not brought
_FIRST_REPORT = 10.0  # seconds after Ray's start in which its autoscaler has reported; it does so every 5


def machine_types() -> set[str]:
    """The types that autoscalers gave this cluster's machines, those that are on their way among them.

    Ray has an autoscaler that adds nothing on every cluster that has no other, and that one makes up a type for each
    machine; these are not among them.
    """
    types = _types_of_v2() if is_autoscaler_v2() else _types_of_v1()
    return {name for name in types if not name.startswith(_MADE_UP)}


def _types_of_v2() -> set[str]:
    status = get_cluster_status(ray.get_runtime_context().gcs_address)
    return {node.ray_node_type_name for node in (*status.active_nodes, *status.idle_nodes)}


def _types_of_v1() -> set[str]:
    deadline = time.monotonic() + _FIRST_REPORT
    while not (types := _reported_types(_report())) and time.monotonic() < deadline:
        time.sleep(0.2)
    return types


def _report() -> bytes | None:
    found: bytes | None = _internal_kv_get(ray_constants.DEBUG_AUTOSCALING_STATUS)
    return found


def _reported_types(report: bytes | None) -> set[str]:
    """The types of a report's machines; none if there is none yet."""
    summary = json.loads(report or b"{}").get("autoscaler_report", {})
    return set(summary.get("active_nodes", {})) | set(summary.get("pending_launches", {}))
