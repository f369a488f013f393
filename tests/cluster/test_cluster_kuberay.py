"""The KubeRay files against the operator's schemas and rules, without Kubernetes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import yaml
from cluster_files import FOLDER, JOBS, KUBERAY, cluster_of, filled, kuberay, mounts_storage, pods_of, storage
from operator_rules import broken_rules
from strict_schema import CRDS, complaints, schema_of

needs_schemas = pytest.mark.skipif(
    not CRDS.exists(), reason="../shared/data/kuberay, which has the schemas, is not there"
)
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl, which has kustomize, is not there")
cached_schema = cache(schema_of)


@needs_kubectl
@pytest.mark.parametrize("name", KUBERAY)
def test_kubectl_makes_the_same_of_its_files(name: str) -> None:
    made = subprocess.run(
        ["kubectl", "kustomize", FOLDER / "kuberay" / name], capture_output=True, text=True, timeout=60, check=True
    )
    assert yaml.safe_load(filled(made.stdout)) == kuberay(name)


@needs_schemas
@pytest.mark.parametrize("name", KUBERAY)
def test_the_schema_accepts_it(name: str) -> None:
    document = kuberay(name)
    assert complaints(document, cached_schema(document["kind"])) == []


def _rename(table: dict[str, Any], right: str, wrong: str) -> None:
    table[wrong] = table.pop(right)


TYPOS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "enableInTreeAutoscaler": lambda d: cluster_of(d).update(enableInTreeAutoscaler=True),
    "maxReplica": lambda d: _rename(cluster_of(d)["workerGroupSpecs"][0], "maxReplicas", "maxReplica"),
    "runAsNonroot": lambda d: _rename(pods_of(d)[0]["securityContext"], "runAsNonRoot", "runAsNonroot"),
    "limit": lambda d: _rename(pods_of(d)[1]["containers"][0]["resources"], "limits", "limit"),
    "nodeSelectors": lambda d: _rename(pods_of(d)[1], "nodeSelector", "nodeSelectors"),
    "on": lambda d: cluster_of(d)["authOptions"].update(mode="on"),
    "three": lambda d: cluster_of(d)["workerGroupSpecs"][0].update(replicas="three"),
    "lable": lambda d: d["metadata"].update(lable={}),
}


@needs_schemas
@pytest.mark.parametrize("name", KUBERAY)
@pytest.mark.parametrize("typo", TYPOS)
def test_a_typo_is_found(name: str, typo: str) -> None:
    document = kuberay(name)
    TYPOS[typo](document)
    found = complaints(document, cached_schema(document["kind"]))
    assert any(f"'{typo}'" in line for line in found), found


@needs_schemas
@pytest.mark.parametrize(
    ("right", "wrong"), [("ttlSecondsAfterFinished", "ttlSecondAfterFinished"), ("entrypoint", "entryPoint")]
)
def test_a_typo_in_a_job_is_found(right: str, wrong: str) -> None:
    document = kuberay("train")
    _rename(document["spec"], right, wrong)
    assert any(wrong in line for line in complaints(document, cached_schema("RayJob")))


@pytest.mark.parametrize("name", KUBERAY)
def test_it_breaks_no_rule_of_the_operator(name: str) -> None:
    assert broken_rules(kuberay(name)) == []


BREAKS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "needs rayVersion": lambda d: cluster_of(d).update(rayVersion="2.51.0"),
    "<= maxReplicas": lambda d: cluster_of(d)["workerGroupSpecs"][0].update(replicas=9),
    "one name": lambda d: cluster_of(d)["workerGroupSpecs"].append(cluster_of(d)["workerGroupSpecs"][0]),
    "and beside it": lambda d: cluster_of(d)["headGroupSpec"].update(resources={"CPU": "1"}),
    "a container": lambda d: pods_of(d)[0].update(containers=[]),
}


@pytest.mark.parametrize("name", KUBERAY)
@pytest.mark.parametrize("rule", BREAKS)
def test_a_broken_rule_is_found(name: str, rule: str) -> None:
    document = kuberay(name)
    BREAKS[rule](document)
    assert any(rule in line for line in broken_rules(document))


def test_autoscaler_v2_with_pods_that_restart_is_found() -> None:
    document = kuberay("cluster")
    pods_of(document)[1]["restartPolicy"] = "Always"
    assert broken_rules(document) == ["restartPolicy must be Never with autoscaler v2"]


def test_a_job_that_would_not_end_its_cluster_is_found() -> None:
    document = kuberay("train")
    document["spec"]["shutdownAfterJobFinishes"] = False
    assert broken_rules(document) == ["ttlSecondsAfterFinished needs shutdownAfterJobFinishes"]


@pytest.mark.parametrize("name", KUBERAY)
def test_no_pod_runs_as_root_or_without_limits(name: str) -> None:
    for pod in pods_of(kuberay(name)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 1000
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
            assert container["resources"]["limits"]["cpu"]


@pytest.mark.parametrize("name", KUBERAY)
def test_workers_have_a_gpu_and_all_share_the_storage(name: str) -> None:
    document = kuberay(name)
    cluster = cluster_of(document)
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for pod in pods_of(document)[:2]:
        assert mounts_storage(pod, pod["containers"][0])
    worker = pods_of(document)[1]
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert worker["nodeSelector"]
    assert "nodeSelector" not in pods_of(document)[0]


@pytest.mark.parametrize("name", JOBS)
def test_a_job_ends_its_cluster_and_writes_to_the_shared_storage(name: str) -> None:
    spec = kuberay(name)["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["activeDeadlineSeconds"] > 0
    assert "--storage-path /results" in spec["entrypoint"]


def test_the_training_job_has_a_gpu_for_each_worker() -> None:
    document = kuberay("train")
    assert f"--workers {cluster_of(document)['workerGroupSpecs'][0]['replicas']} " in document["spec"]["entrypoint"]


@needs_schemas
def test_the_claim_of_storage_is_shared_and_as_kubernetes_has_it() -> None:
    claim, _ = storage()
    head = cached_schema("RayCluster")["properties"]["spec"]["properties"]["headGroupSpec"]
    volumes = head["properties"]["template"]["properties"]["spec"]["properties"]["volumes"]
    template = volumes["items"]["properties"]["ephemeral"]["properties"]["volumeClaimTemplate"]
    schema = template["properties"]["spec"]
    assert complaints(claim["spec"], schema) == []
    assert complaints({**claim["spec"], "accessMode": []}, schema)
    assert (claim["apiVersion"], claim["kind"]) == ("v1", "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
