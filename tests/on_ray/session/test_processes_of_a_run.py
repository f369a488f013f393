"""Which of Ray Train's own processes a run starts: none that would have nothing to do."""

from __future__ import annotations

from typing import Any

import pytest
import ray.train
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy, create_scaling_policy

from ray_mentor.on_ray.session.environment import nobody_takes_machines
from ray_mentor.on_ray.session.internals import of_trainer
from ray_mentor.on_ray.session.internals.of_trainer import StoppableTrainer

WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"


class Told(ray.train.UserCallback):
    """The user's own."""


def given_to_ray(monkeypatch: pytest.MonkeyPatch, workers: Any, *, alone: bool) -> dict[str, Any]:
    """What the controller would be made of."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(TorchTrainer, "_initialize_and_run_controller", lambda self, **parts: found.update(parts))
    run = ray.train.RunConfig(name="run", callbacks=[Told()])
    scaling = ray.train.ScalingConfig(num_workers=workers)
    trainer: Any = StoppableTrainer(lambda: None, scaling_config=scaling, run_config=run, alone=alone)
    parts = {"callbacks": trainer._create_default_callbacks(), "scaling_policy": create_scaling_policy(scaling)}
    trainer._initialize_and_run_controller(**parts, run="as it was")
    assert found["run"] == "as it was"
    kept = [
        type(each) for each in parts["callbacks"] if type(each) not in (DatasetsCallback, PlacementGroupCleanerCallback)
    ]
    assert [type(each) for each in found["callbacks"] if type(each) in kept] == kept
    return found


def test_on_a_ray_of_its_own_nobody_cleans_up_after_it_or_asks_for_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    found = given_to_ray(monkeypatch, 2, alone=True)
    kinds = {type(each) for each in found["callbacks"]}
    assert not kinds & {DatasetsCallback, PlacementGroupCleanerCallback}
    policy = found["scaling_policy"]
    policy.after_controller_start(None)  # Ray's own would start an actor
    decision = policy.make_decision_for_non_running_worker_group()
    assert (decision.num_workers, decision.resources_per_worker) == (2, {"CPU": 1})


def test_on_another_one_both_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    found = given_to_ray(monkeypatch, 2, alone=False)
    assert type(found["scaling_policy"]) is FixedScalingPolicy
    assert PlacementGroupCleanerCallback in {type(each) for each in found["callbacks"]}


def test_a_run_of_fewer_workers_or_more_asks_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = given_to_ray(monkeypatch, (1, 2), alone=True)["scaling_policy"]
    assert type(policy).__module__.startswith("ray.")


def test_workers_have_the_data_context_of_this_process_and_no_actor_for_data_sets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (handed,) = (
        each for each in given_to_ray(monkeypatch, 2, alone=False)["callbacks"] if isinstance(each, DatasetsCallback)
    )
    assert handed.before_init_train_context([]) == {}
    told: list[Any] = []

    class Group:
        def execute(self, do: Any, context: Any) -> None:
            told.append(context)

    handed.after_worker_group_start(Group())  # type: ignore[arg-type]
    assert [type(context).__name__ for context in told] == ["DataContext"]


def test_nobody_looks_out_for_machines_that_go_unless_the_user_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WATCHER, raising=False)
    assert WATCHER not in of_trainer._handed_on()
    with nobody_takes_machines():
        assert of_trainer._handed_on()[WATCHER] == "0"
    monkeypatch.setenv(WATCHER, "1")
    with nobody_takes_machines():
        assert of_trainer._handed_on()[WATCHER] == "1"
