"""Runs by group DRO: what they win on the worst group, how they go on, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from accidents import breaking
from grouped_runs import grouped_trainer, spurious
from small_runs import MENTOR, UNMIXED, assert_same_bits, assert_same_run, carried, interrupted

from ray_mentor.config import CurriculumConfig, MixtureConfig
from ray_mentor.errors import StoppedByUser, UserError

pytestmark = pytest.mark.long  # runs

DRO = CurriculumConfig("group-dro", mixing="none", group_rate=0.1)


def test_the_worst_group_gains(tmp_path: Path) -> None:
    shared: dict[str, Any] = {"epochs": 8, "curriculum": dataclasses.replace(DRO, meta_in_training=0.0)}
    plain = grouped_trainer(tmp_path, "plain", method="uniform", **shared).fit().result
    notes: list[str] = []

    def noted(row: Any) -> None:
        notes.extend([row["text"]] if row["kind"] == "note" else [])

    result = grouped_trainer(tmp_path, "dro", **shared).fit(noted).result
    assert plain["test_worst_group"] == "south"
    assert result["test_worst_group_accuracy"] > plain["test_worst_group_accuracy"] + 0.1
    assert any(note.startswith("group-dro ends with shares south ") for note in notes)


def test_it_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    whole = grouped_trainer(tmp_path, "whole", curriculum=DRO).fit()
    with pytest.raises(StoppedByUser):
        grouped_trainer(tmp_path, "broke", curriculum=DRO, optimizer=interrupted(13)).fit()
    outcome = grouped_trainer(tmp_path, "broke", curriculum=DRO, resume=True).fit()
    assert_same_run(outcome, whole)
    (log_shares,) = carried(whole)["curriculum"]["at_epoch"]
    shares = log_shares.exp()
    assert shares.sum() == pytest.approx(1)
    assert shares[1] > shares[0], "south is harder"


@pytest.mark.usefixtures("local_ray")
@pytest.mark.slow
def test_two_workers_do_as_one_and_go_on(tmp_path: Path) -> None:
    """Each group's mean loss is over both."""
    short: dict[str, Any] = {"curriculum": DRO, "epochs": 3}
    alone, whole = (grouped_trainer(tmp_path, f"with {n}", workers=n, **short).fit() for n in (0, 2))
    shares = [carried(outcome)["curriculum"]["at_epoch"][0].exp() for outcome in (alone, whole)]
    assert shares[0].tolist() == pytest.approx(shares[1].tolist(), rel=1e-5)
    broken = tmp_path / "broken"
    broken.touch()
    changes: dict[str, Any] = {"workers": 2, "optimizer": breaking(str(broken), after_steps=9), **short}
    with pytest.raises(UserError):
        grouped_trainer(tmp_path, "broke", **changes).fit()
    broken.unlink()
    assert_same_run(grouped_trainer(tmp_path, "broke", resume=True, **changes).fit(), whole)


def test_equal_batches_are_those_of_a_mixture(tmp_path: Path) -> None:
    """As many of each group in each batch, where a window is one step, and then weighed by q alone."""
    mixture = MixtureConfig("uniform", shares_interval=1)
    outcome = grouped_trainer(tmp_path, "run", curriculum=DRO, mixture=mixture, epochs=2).fit()
    ledger = outcome.ledger()
    assert set(ledger["domain"].to_pylist()) == {"north", "south"}
    for step in set(ledger["step"].to_pylist()):
        domains = [
            d for d, s in zip(ledger["domain"].to_pylist(), ledger["step"].to_pylist(), strict=True) if s == step
        ]
        assert abs(domains.count("north") - domains.count("south")) <= 1


def test_without_groups_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="method is 'group-dro', which goes by groups, but nobody says of which each"):
        grouped_trainer(tmp_path, "run", curriculum=DRO, group_column=None, ignore_columns=("where",))
    meta = spurious(2, (40, 20)).drop(columns="where")
    with pytest.raises(UserError, match=r"trusted samples that are trained on have no column of them; add it, or give"):
        grouped_trainer(tmp_path, "run", curriculum=DRO, meta=meta)
    held = dataclasses.replace(DRO, meta_in_training=0.0)
    outcome = grouped_trainer(tmp_path, "run", curriculum=held, meta=meta, epochs=1).fit()
    assert outcome.result["trusted_worst_group"] is None


def test_other_methods_do_without_them(tmp_path: Path) -> None:
    """The same student comes out; what is held out goes by groups, where they are known."""
    mentor = dataclasses.replace(MENTOR, meta_holdout=0.0)
    with_groups, without = (
        grouped_trainer(tmp_path, name, curriculum=UNMIXED, mentor=mentor, epochs=2, **changes).fit()
        for name, changes in (("with", {}), ("without", {"group_column": None, "ignore_columns": ("where",)}))
    )
    assert_same_bits(with_groups.student_state, without.student_state)
