"""The cluster launcher's files, through Ray's own defaults and schema, without a cloud."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
from cluster_files import LAUNCHER, ROOT, header_of, launcher_lines, loaded, read
from ray.autoscaler._private.docker import docker_start_cmds
from ray.autoscaler._private.util import prepare_config, validate_config

CLOUDS = ("aws.yaml", "gcp.yaml")


def checked(config: dict[str, Any]) -> dict[str, Any]:
    """As ``ray up`` does before it speaks to the cloud."""
    full: dict[str, Any] = prepare_config(copy.deepcopy(config))
    validate_config(full)
    return full


@pytest.mark.parametrize("name", LAUNCHER)
def test_ray_accepts_it(name: str) -> None:
    assert checked(loaded(name))["cluster_name"] == "ray-mentor"


@pytest.mark.parametrize("name", LAUNCHER)
def test_a_misspelt_field_is_refused(name: str) -> None:
    config = loaded(name)
    config["idle_timeout_minuets"] = config.pop("idle_timeout_minutes")
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minuets"):
        checked(config)


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize(
    ("path", "right", "wrong"),
    [
        (("docker",), "run_options", "run_option"),
        (("auth",), "ssh_user", "ssh_usr"),
        (("available_node_types", "gpu_worker"), "max_workers", "max_worker"),
        (("available_node_types", "gpu_worker"), "node_config", "node_conf"),
    ],
)
def test_a_misspelt_field_inside_is_refused(name: str, path: tuple[str, ...], right: str, wrong: str) -> None:
    config = loaded(name)
    inner = config
    for key in path:
        inner = inner[key]
    inner[wrong] = inner.pop(right)
    with pytest.raises(jsonschema.ValidationError, match=wrong):
        checked(config)


def test_a_missing_address_is_refused() -> None:
    config = loaded("machines.yaml")
    del config["provider"]["head_ip"]
    with pytest.raises(Exception, match="head_ip"):
        checked(config)


@pytest.mark.parametrize("name", CLOUDS)
def test_the_head_trains_nothing_and_the_workers_have_a_gpu(name: str) -> None:
    types = checked(loaded(name))["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["head"]["max_workers"] == 0
    assert all(kind["resources"]["GPU"] == 1 for label, kind in types.items() if label != "head")


@pytest.mark.parametrize("name", CLOUDS)
def test_the_first_run_can_have_two_gpus_which_cost_nothing_before(name: str) -> None:
    types = checked(loaded(name))["available_node_types"]
    assert sum(kind["max_workers"] * kind["resources"].get("GPU", 0) for kind in types.values()) >= 2
    assert sum(kind["min_workers"] for kind in types.values()) == 0


@pytest.mark.parametrize("name", CLOUDS)
def test_workers_can_be_spot_machines(name: str) -> None:
    config = loaded(name)
    types = config["available_node_types"]
    spot, plain = types["gpu_spot_worker"], types["gpu_worker"]
    assert "spot" in str(spot["node_config"]).lower()
    assert "spot" not in str(plain["node_config"]).lower()
    spot["max_workers"], plain["max_workers"] = plain["max_workers"], spot["max_workers"]
    checked(config)


@pytest.mark.parametrize("name", LAUNCHER)
def test_none_of_rays_own_commands_is_left(name: str) -> None:
    """Its defaults install another Ray and open the dashboard to everybody."""
    own = {" ".join(line.split()) for line in launcher_lines(loaded(name))}
    full = {" ".join(line.split()) for line in launcher_lines(checked(loaded(name)))}
    assert full == own
    assert not any("0.0.0.0" in line or "whl" in line for line in full)


@pytest.mark.parametrize("name", LAUNCHER)
def test_it_asks_for_a_token_and_sends_no_statistics(name: str) -> None:
    config = loaded(name)
    everything = str(config)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "RAY_AUTH_MODE=token" in everything
    assert "RAY_USAGE_STATS_ENABLED=0" in everything
    heads = [line for line in config["head_start_ray_commands"] if "--head" in line]
    assert all("--dashboard-host=127.0.0.1" in line for line in heads)


# Who may do what


def machines(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the cloud is asked for: the head, and the kinds of workers."""
    types = checked(loaded(name))["available_node_types"]
    head = types.pop("head")["node_config"]
    return head, [kind["node_config"] for kind in types.values()]


def test_on_aws_only_the_head_has_the_rights_of_one_that_starts_machines() -> None:
    head, workers = machines("aws.yaml")
    profiles = {worker["IamInstanceProfile"]["Arn"] for worker in workers}
    assert len(profiles) == 1
    assert head["IamInstanceProfile"]["Arn"] not in profiles
    header = header_of(read("aws.yaml"))["Fill in"]
    of_workers, of_head = header.split("<YOUR-WORKERS-PROFILE-ARN>")[1].split("<YOUR-HEAD-PROFILE-ARN>")
    assert "ec2:" not in of_workers
    assert "iam:" not in of_workers
    assert "ec2:RunInstances" in of_head
    assert "iam:PassRole the workers' role alone" in of_head


def test_on_aws_a_roles_keys_are_given_to_the_machine_alone_and_disks_are_encrypted() -> None:
    head, workers = machines("aws.yaml")
    for machine in (head, *workers):
        assert machine["MetadataOptions"] == {
            "HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1
        }  # fmt: skip
        assert [disk["Ebs"]["Encrypted"] for disk in machine["BlockDeviceMappings"]] == [True]


def test_containers_share_the_machines_network_so_that_one_hop_is_enough() -> None:
    line = docker_start_cmds("ubuntu", "image", {}, "ray-mentor", [], "ray-mentor", "/home/ray", "docker")
    assert " --net=host " in line


def test_on_google_only_the_head_has_the_account_that_starts_machines() -> None:
    source = (Path(ray.__file__).parent / "autoscaler/_private/gcp/config.py").read_text()  # importing needs Google's
    for line in ('RAY = "ray-autoscaler"', 'VERSION = "v1"', 'DEFAULT_SERVICE_ACCOUNT_ID = RAY + "-sa-" + VERSION'):
        assert f"\n{line}\n" in source
    assert '"roles/compute.admin"' in source
    head, workers = machines("gcp.yaml")
    assert "serviceAccounts" not in head, "Ray gives the head its own, whatever stands here"
    for worker in workers:
        (account,) = worker["serviceAccounts"]
        assert account["email"] == "workers-account.example"
        assert account["scopes"] == ["https://www.googleapis.com/auth/devstorage.read_write"]
    assert "ray-autoscaler-sa" not in read("gcp.yaml")


def test_the_folder_for_the_machines_is_the_one_that_their_file_says_how_to_make() -> None:
    assert loaded("machines.yaml")["file_mounts"]["~/ray-mentor"] == "job"
    assert "# `job` is made by: mkdir job && git archive HEAD | tar -x -C job\n" in read("machines.yaml")
    assert (ROOT / "constraints.txt").exists()
