"""A meta set of what looks right in the validation split: which are chosen, when, and who knows of it afterwards."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from small_runs import EPOCHS, MENTOR, assert_same_run, carried, interrupted, trainer_for
from thread_ranks import on_ranks
from torch import Tensor, nn

from ray_mentor.config import CurriculumConfig
from ray_mentor.core.epoch import EpochEnd
from ray_mentor.core.exchange import AbstractExchange, Alone
from ray_mentor.core.losses import cross_entropy, expected_error
from ray_mentor.core.step.evaluation import losses_on
from ray_mentor.data import FeatureInputs, Samples, Splits
from ray_mentor.errors import UserError
from ray_mentor.run.meta_set.pseudo_clean import PseudoClean, chosen

CPU = torch.device("cpu")


def samples_of(labels: list[int]) -> Samples:
    n = len(labels)
    values = np.arange(n, dtype=np.float32)[:, None]
    return Samples(FeatureInputs(values), np.arange(n), np.array(labels), None, ("a", "b", "c"))


def end_of(errors: list[float]) -> EpochEnd:
    found = torch.tensor(errors, dtype=torch.float64)
    return EpochEnd(1, 0.5, lambda: torch.zeros(0), errors=found)


class TestWhoIsChosen:
    def test_small_errors_of_each_class_in_balance(self) -> None:
        """Five are believed, so that each of three classes gives up to two, those of the smallest errors."""
        labels = [0, 0, 0, 0, 1, 1, 2, 2]
        errors = [0.1, 0.05, 0.08, 0.95, 0.1, 0.9, 0.85, 0.12]
        assert chosen(torch.tensor(errors).double(), np.array(labels)).tolist() == [1, 2, 4, 7]

    def test_nobody_whose_label_the_student_contradicts(self) -> None:
        """Not even where the component of small errors is there."""
        errors = torch.tensor([0.55, 0.6, 0.1, 0.58, 0.99, 0.98, 0.12]).double()
        assert chosen(errors, np.array([0, 0, 0, 0, 0, 0, 0])).tolist() == [2, 6]

    def test_one_at_least_of_each_class(self) -> None:
        errors = torch.tensor([0.1, 0.1, 0.9, 0.8, 0.11]).double()
        assert chosen(errors, np.array([0, 0, 1, 1, 0])).tolist() == [0, 1, 3]

    def test_where_all_errors_are_alike_all_that_are_not_contradicted(self) -> None:
        assert chosen(torch.full((4,), 0.2).double(), np.array([0, 0, 1, 1])).tolist() == [0, 1, 2, 3]
        assert chosen(torch.full((4,), 0.9).double(), np.array([0, 0, 1, 1])).tolist() == [0, 2]

    def test_as_many_as_there_are_workers(self) -> None:
        errors = torch.tensor([0.9, 0.8, 0.95, 0.7]).double()
        assert chosen(errors, np.zeros(4, np.int64), least=3).tolist() == [0, 1, 3]


class TestWhen:
    def test_all_of_the_split_until_an_epoch_has_ended(self) -> None:
        made = PseudoClean(samples_of([0, 0, 1, 1]), 4, 0, Alone(), CPU)
        assert made.rows.tolist() == [0, 1, 2, 3]
        assert made(0).size == 4
        made.at_epoch(end_of([0.1, 0.9, 0.1, 0.9]))
        assert made.rows.tolist() == [0, 2]
        batch = made(1)
        assert batch.size == 2
        assert sorted(batch.inputs[:, 0].tolist()) == [0, 2]  # type: ignore[index]
        assert sorted(batch.labels.tolist()) == [0, 1]

    def test_errors_are_smoothed(self) -> None:
        made = PseudoClean(samples_of([0, 1]), 2, 0, Alone(), CPU)
        for errors in ([0.5, 0.0], [1.0, 0.5], [0.0, 0.0]):
            made.at_epoch(end_of(errors))
        first = 0.7 * (0.7 * 0.5 + 0.3 * 1.0)
        second = 0.7 * (0.3 * 0.5)
        assert made.state is not None
        torch.testing.assert_close(made.state, torch.tensor([first, second]).double())

    def test_what_is_read_ahead_is_of_those_that_are_chosen_now(self) -> None:
        """And is not read again where they stay the same."""
        made, begun = PseudoClean(samples_of([0, 0, 1, 1]), 2, 0, Alone(), CPU), []
        anew = made.begin_anew
        made.begin_anew = lambda: (begun.append(1), anew())[1]  # type: ignore[method-assign,func-returns-value]
        made(0)
        for errors, times, rows in (
            ([0.1, 0.9, 0.1, 0.9], 1, {0, 2}),
            ([0.1, 0.9, 0.1, 0.9], 1, {0, 2}),
            ([1.0, 0.0, 0.1, 0.9], 1, {0, 2}),
            ([1.0, 0.0, 0.1, 0.9], 2, {1, 2}),
        ):
            made.at_epoch(end_of(errors))
            assert len(begun) == times
            assert {float(x) for x in made(len(begun)).inputs[:, 0]} == rows  # type: ignore[index]

    def test_a_state_says_who_was_chosen(self) -> None:
        one, other = (PseudoClean(samples_of([0, 0, 1, 1]), 4, 0, Alone(), CPU) for _ in range(2))
        one.at_epoch(end_of([0.1, 0.9, 0.9, 0.2]))
        other.state = one.state
        assert other.rows.tolist() == one.rows.tolist() == [0, 3]
        assert other.could_be(one.state, 2)  # type: ignore[arg-type]
        for wrong in (torch.zeros(3), torch.full((4,), 1.5), torch.full((4,), -0.1)):
            assert not other.could_be(wrong.double(), 2)


def test_two_ranks_choose_and_share_out_what_one_does() -> None:
    labels = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]
    pool = samples_of(labels)
    torch.manual_seed(0)
    student = nn.Linear(1, 3).double()

    def main(exchange: AbstractExchange) -> tuple[Tensor, list[int], list[list[float]]]:
        made = PseudoClean(pool, 4, 0, exchange, CPU)
        size = len(labels)
        own = slice(0, size) if exchange.world_size == 1 else slice(0, 6) if exchange.rank == 0 else slice(6, size)
        x, y = torch.arange(size).double()[own, None], torch.tensor(labels)[own]
        errors = expected_error(losses_on(student, cross_entropy, [(x, y)], exchange))
        made.at_epoch(EpochEnd(1, 0.5, lambda: torch.zeros(0), errors=errors))
        return errors, made.rows.tolist(), [made(update).inputs[:, 0].tolist() for update in range(3)]  # type: ignore[index]

    ((errors, rows, batches),) = on_ranks(1, main)
    first, second = on_ranks(2, main)
    assert torch.equal(first[0], second[0])
    torch.testing.assert_close(first[0], errors, rtol=1e-12, atol=1e-12)
    assert first[1] == second[1] == rows
    for alone, one, other in zip(batches, first[2], second[2], strict=True):
        assert sorted(one + other) == alone
    p = torch.softmax(student(torch.arange(len(labels)).double()[:, None]), 1)
    torch.testing.assert_close(errors, 1 - p[torch.arange(len(labels)), torch.tensor(labels)].detach())


PSEUDO = CurriculumConfig(meta_from="pseudo-clean", burn_in=0.0)


@pytest.mark.long
@pytest.mark.parametrize(
    "curriculum",
    [
        PSEUDO,
        dataclasses.replace(PSEUDO, method="l2rw"),
        dataclasses.replace(PSEUDO, method="uniform", gradient_rule="pcgrad"),
    ],
    ids=["mentornet", "l2rw", "pcgrad"],
)
def test_a_run_without_trusted_samples_survives_a_stop(
    curriculum: CurriculumConfig, small_splits: Splits, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"curriculum": curriculum, "meta": None, "checkpoint_steps": 3}
    whole = trainer_for(small_splits, tmp_path, "whole", **changes).fit()
    assert whole.result["trusted_accuracy"] is None
    (errors,) = carried(whole)["curriculum"]["at_epoch"]
    assert errors.shape == (45,)
    for steps in (4, 13):
        with pytest.raises(KeyboardInterrupt):
            trainer_for(small_splits, tmp_path, f"at{steps}", optimizer=interrupted(steps), **changes).fit()
        assert_same_run(trainer_for(small_splits, tmp_path, f"at{steps}", resume=True, **changes).fit(), whole)


@pytest.mark.long
def test_validation_samples_are_never_trained_on_and_chosen_ones_are_mostly_right(
    small_splits: Splits, tmp_path: Path
) -> None:
    outcome = trainer_for(small_splits, tmp_path, "run", curriculum=PSEUDO, meta=None).fit()
    assert small_splits.validation is not None
    assert outcome.result["test_accuracy"] > 0.9
    assert set(outcome.ledger()["sample_id"].to_pylist()) == set(small_splits.train.ids.tolist())
    assert len(outcome.ledger()) == EPOCHS * len(small_splits.train)
    labels, truth = small_splits.validation.labels, small_splits.validation.true_labels
    assert truth is not None
    rows = chosen(carried(outcome)["curriculum"]["at_epoch"][0], labels)
    assert (labels[rows] == truth[rows]).mean() > 0.95 > (labels == truth).mean() + 0.15
    assert np.bincount(labels[rows]).min() > 0


def test_what_mixes_as_the_student_memorises_reads_that_off_given_labels(small_splits: Splits, tmp_path: Path) -> None:
    """1 − the mean error on training samples as they are met, over that on the validation split, of given labels."""
    curriculum = CurriculumConfig("uniform", mixing="mentormix", meta_from="pseudo-clean")
    outcome = trainer_for(small_splits, tmp_path, "run", curriculum=curriculum, meta=None, epochs=2).fit()
    last = outcome.ledger().filter(pc.equal(outcome.ledger()["epoch"], 1))
    trained = 1 - np.exp(-last["loss"].to_numpy().astype(float))
    row = outcome.metrics[-1]
    assert row["memorised"] == pytest.approx(1 - trained.mean() / row["meta_holdout_loss"], rel=1e-5)  # type: ignore[operator]
    assert 0 < row["memorised"] < 1  # type: ignore[operator]
    first, second = (outcome.metrics[epoch]["meta_holdout_loss"] for epoch in (0, 1))
    smoothed = float(carried(outcome)["curriculum"]["at_epoch"][0].mean())
    assert smoothed == pytest.approx(0.7 * first + 0.3 * second, rel=1e-5)  # type: ignore[operator]


def test_other_trusted_samples_stay_in_training_and_measurements(small_splits: Splits, tmp_path: Path) -> None:
    outcome = trainer_for(small_splits, tmp_path, "run", curriculum=PSEUDO, epochs=1).fit()
    assert outcome.result["trusted_held_out"] == 9


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"validation": None}, "meta_from is 'pseudo-clean', which chooses from the validation split, but there is"),
        (
            {"loss": lambda outputs, labels: cross_entropy(outputs, labels)},
            "meta_from is 'pseudo-clean', which goes by the probability",
        ),
        (
            {"mentor": dataclasses.replace(MENTOR, mentor_patience=2)},
            "mentor_patience is 2, which goes by samples that the mentor does not learn from, but meta_from",
        ),
    ],
)  # fmt: skip
def test_what_it_can_not_do_without(changes: dict[str, Any], says: str, small_splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        trainer_for(small_splits, tmp_path, "none", **{"curriculum": PSEUDO, "meta": None, **changes})
    assert str(refused.value).startswith(says)
