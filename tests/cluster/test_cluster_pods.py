"""What the KubeRay files' pods have: the storage as their user's, and room for the object store, without Kubernetes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cluster_files import KUBERAY, cluster_of, kuberay, mounts_storage, pods_of, storage
from ray._private import utils
from strict_schema import CRDS, complaints, schema_of

# Whose storage it is


@pytest.mark.skipif(not CRDS.exists(), reason="../shared/data/kuberay, which has the schemas, is not there")
def test_pods_of_the_storages_job_are_as_kubernetes_has_them() -> None:
    job = storage()[1]
    schema = schema_of("RayJob")["properties"]["spec"]["properties"]["submitterPodTemplate"]["properties"]["spec"]
    pod = job["spec"]["template"]["spec"]
    assert complaints(pod, schema) == []
    assert complaints({**pod, "initContainer": []}, schema)
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert all(mounts_storage(pod, container) for container in [*pod["initContainers"], *pod["containers"]])


def test_root_may_give_storage_away_and_nothing_else() -> None:
    (root,) = storage()[1]["spec"]["template"]["spec"]["initContainers"]
    assert root["securityContext"] == {
        "runAsUser": 0, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}
    }  # fmt: skip


@pytest.mark.parametrize("name", KUBERAY)
def test_storage_is_handed_to_the_user_of_all_pods(name: str) -> None:
    pod = storage()[1]["spec"]["template"]["spec"]
    words = pod["initContainers"][0]["command"][-1].split()
    user = words[words.index("chown") + 1]
    as_checked = pod["containers"][0]["securityContext"]
    assert f"{as_checked['runAsUser']}:{as_checked['runAsGroup']}" == user
    for each in pods_of(kuberay(name)):
        context = each["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == user
        assert context.get("fsGroupChangePolicy", "Always") == "OnRootMismatch" or "fsGroup" not in context, (
            "Kubernetes would go through all results whenever a pod starts"
        )


class Storage:
    """A folder in the place of /results, and what the two containers of the job do in it."""

    def __init__(self, folder: Path, chown: int) -> None:
        self.results = folder / "results"
        self.results.mkdir()
        self._folder = folder
        (folder / "bin").mkdir()
        stand_in = folder / "bin/chown"
        stand_in.write_text(f'#!/bin/sh\necho "$*" > {folder}/chowned\nexit {chown}\n')
        stand_in.chmod(0o755)
        pod = storage()[1]["spec"]["template"]["spec"]
        self._commands = [each["command"] for each in [*pod["initContainers"], *pod["containers"]]]

    def run(self) -> list[subprocess.CompletedProcess[str]]:
        path = f"{self._folder / 'bin'}:{os.environ['PATH']}"
        return [
            subprocess.run(
                [word.replace("/results", str(self.results)) for word in command],
                env={"PATH": path}, capture_output=True, text=True, timeout=60, check=False,
            )
            for command in self._commands
        ]  # fmt: skip


def test_it_is_handed_over_and_tried(tmp_path: Path) -> None:
    made = Storage(tmp_path, chown=0)
    assert [(done.returncode, done.stdout, done.stderr) for done in made.run()] == [(0, "", "")] * 2
    assert (tmp_path / "chowned").read_text() == f"1000:1000 {made.results}\n"
    assert list(made.results.iterdir()) == []


def test_where_root_may_not_it_is_enough_that_the_user_can_write(tmp_path: Path) -> None:
    one, other = Storage(tmp_path, chown=1).run()
    assert (one.returncode, other.returncode) == (0, 0)
    assert one.stdout == "this storage does not let root give it away\n"


def test_storage_that_cannot_be_written_to_fails_the_job_and_says_what_to_do(tmp_path: Path) -> None:
    made = Storage(tmp_path, chown=1)
    made.results.rmdir()
    done = made.run()[1]
    assert done.returncode == 1
    assert "user 1000 cannot write to" in done.stderr
    assert "have the storage class make folders for uid and gid 1000" in done.stderr


# Memory


def gibibytes(amount: str) -> float:
    assert amount.endswith("Gi"), amount
    return float(amount.removesuffix("Gi"))


def object_store_and_its_room(pod: dict[str, Any], parameters: dict[str, str]) -> tuple[float, float]:
    """What Ray takes for its object store, and how large /dev/shm is, in GiB: by Ray's and by the operator's rule."""
    (container,) = pod["containers"]
    memory = gibibytes(container["resources"]["requests"]["memory"])
    volumes = {volume["name"]: volume for volume in pod.get("volumes", ())}
    at = {mount["mountPath"]: volumes[mount["name"]] for mount in container.get("volumeMounts", ())}
    room = gibibytes(at["/dev/shm"]["emptyDir"]["sizeLimit"]) if "/dev/shm" in at else memory
    wished = parameters.get("object-store-memory")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "get_shared_memory_bytes", lambda: int(room * 2**30))
        taken = int(wished) if wished else utils.resolve_object_store_memory(int(memory * 2**30))
    return taken / 2**30, room


@pytest.mark.parametrize("name", KUBERAY)
def test_the_object_store_has_room_in_memory(name: str) -> None:
    """Ray puts it on the disk otherwise, and says that this harms performance."""
    cluster = cluster_of(kuberay(name))
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        taken, room = object_store_and_its_room(group["template"]["spec"], group["rayStartParams"])
        assert 0.25 * room < taken <= room


def test_one_that_has_none_is_found() -> None:
    """As it was once: 24 GiB of memory, of which 4 could be shared."""
    worker = pods_of(kuberay("train"))[1]
    worker["volumes"].append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "4Gi"}})
    worker["containers"][0]["volumeMounts"].append({"name": "shm", "mountPath": "/dev/shm"})
    assert object_store_and_its_room(worker, {}) == (pytest.approx(7.2), 4.0)
    assert object_store_and_its_room(worker, {"object-store-memory": str(3 * 2**30)}) == (3.0, 4.0)
