"""Rules that the KubeRay operator checks besides its schemas, as far as our files touch them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

OLDEST_WITH_TOKEN = (2, 52)


def broken_rules(document: dict[str, Any]) -> list[str]:
    """The rules that a RayCluster or RayJob breaks."""
    spec = document["spec"]
    if document["kind"] == "RayJob":
        return [*_of_job(spec), *_of_cluster(spec.get("rayClusterSpec", {}))]
    return list(_of_cluster(spec))


def _of_job(spec: dict[str, Any]) -> Iterator[str]:
    ends = spec.get("shutdownAfterJobFinishes", False)
    if "rayClusterSpec" not in spec:
        yield "rayClusterSpec or clusterSelector must be set"
    if spec.get("ttlSecondsAfterFinished", 0) > 0 and not ends:
        yield "ttlSecondsAfterFinished needs shutdownAfterJobFinishes"
    if spec.get("ttlSecondsAfterFinished", 0) < 0:
        yield "ttlSecondsAfterFinished must be at least 0"
    if spec.get("activeDeadlineSeconds", 1) <= 0:
        yield "activeDeadlineSeconds must be above 0"
    if spec.get("backoffLimit", 0) < 0:
        yield "backoffLimit must be at least 0"
    if spec.get("submissionMode") == "SidecarMode" and "submitterPodTemplate" in spec:
        yield "SidecarMode takes no submitterPodTemplate"
    if not isinstance(yaml.safe_load(spec.get("runtimeEnvYAML", "{}")), dict):
        yield "runtimeEnvYAML must be a table"


def _of_cluster(spec: dict[str, Any]) -> Iterator[str]:
    groups = [spec["headGroupSpec"], *spec.get("workerGroupSpecs", [])]
    for group in groups:
        pod = group["template"]["spec"]
        if not pod.get("containers"):
            yield "a group needs a container"
        if _autoscaler_v2(spec) and pod.get("restartPolicy", "Never") != "Never":
            yield "restartPolicy must be Never with autoscaler v2"
        if {"num-cpus", "num-gpus", "memory", "resources"} & set(group.get("rayStartParams", {})) and group.get(
            "resources"
        ):
            yield "resources stand in rayStartParams and beside it"
    for group in groups[1:]:
        if not 0 <= group["minReplicas"] <= group.get("replicas", group["minReplicas"]) <= group["maxReplicas"]:
            yield f"minReplicas <= replicas <= maxReplicas does not hold for {group['groupName']}"
    if len({group["groupName"] for group in groups[1:]}) < len(groups) - 1:
        yield "two groups have one name"
    yield from _of_token(spec)


def _autoscaler_v2(spec: dict[str, Any]) -> bool:
    return bool(spec.get("enableInTreeAutoscaling")) and spec.get("autoscalerOptions", {}).get("version") == "v2"


def _of_token(spec: dict[str, Any]) -> Iterator[str]:
    if spec.get("authOptions", {}).get("mode") == "token":
        version = tuple(map(int, spec.get("rayVersion", "0").split(".")[:2]))
        if version < OLDEST_WITH_TOKEN:
            yield "authOptions.mode token needs rayVersion from 2.52 on"
