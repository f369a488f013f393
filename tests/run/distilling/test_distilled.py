"""Rules of weightings that are known: what is chosen, and how well it says what another run's said."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hand_made_runs import row, run_of
from small_runs import trainer_for

from ray_mentor.config import CurriculumConfig
from ray_mentor.core.mentor.rule import MOST_VALUES, Rule
from ray_mentor.core.step.percentile import RunningPercentile
from ray_mentor.data import Splits
from ray_mentor.errors import UserError
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.distilling.distilled import beside, distilled
from ray_mentor.run.distilling.fidelity import fidelity_of
from ray_mentor.run.distilling.fit import Candidate, candidates, chosen, said_by
from ray_mentor.run.distilling.rows import Rows, rows_of, together
from ray_mentor.run.outcome import Outcome


def rows(kind: str, seed: int = 0, n: int = 60, steps: int = 100) -> Rows:
    """Of a weighting that depends on the loss; on progress, too; on the class, too."""
    draw = np.random.default_rng(seed)
    step = np.repeat(np.arange(steps), n)
    loss = draw.exponential(2, steps * n)
    label, progress = draw.integers(3, size=steps * n), step / steps
    z = 3 - 2 * loss
    z = 1 + 8 * progress - 3 * loss if kind != "loss" else z
    z = z + 3 * (label - 1) if kind == "class" else z
    ranks = np.concatenate([(np.argsort(np.argsort(part)) + 0.5) / n for part in np.split(loss, steps)])
    seen = {"quantile": ranks, "loss": loss, "loss_difference": loss - 1.5 - 3 * np.sin(step)}
    sample = np.tile(np.arange(n), steps)
    return Rows(sample, step, 1 / (1 + np.exp(-z)), seen, progress, label, 3, in_nats=True)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("loss", "loss"), ("progress", "loss and progress"), ("class", "loss and progress, and given class")],
)
def test_the_smallest_rule_that_says_it_is_taken(kind: str, name: str) -> None:
    fitted, other = candidates(rows(kind)), rows(kind, seed=1)
    taken = chosen(fitted)
    assert taken.name == name
    assert taken.rule is not None
    found = taken.on(other)
    assert found.r_squared > 0.95
    assert found.spearman > 0.95
    by_name = {one.name: one.on(other) for one in fitted}
    assert by_name["the same for all"].r_squared == pytest.approx(0, abs=0.01)
    assert np.isnan(by_name["the same for all"].spearman)
    assert by_name["one threshold"].r_squared < found.r_squared
    np.testing.assert_allclose(said_by(taken.rule, other), taken.says(other))


def of_size(curves: int, classes: int, chosen_by: float) -> Candidate:
    table = np.full((curves, 2), 0.5), np.arange(curves, dtype=np.float64), np.zeros(classes)
    rule = Rule("loss", np.array([0.0, 1.0]), *table)
    return Candidate(f"{curves} curves, {classes} classes", lambda asked: asked.weight, rule, chosen_by)


def test_a_larger_rule_must_be_worth_it() -> None:
    small, middle, large = (1, 0), (10, 0), (10, 10)
    trees = Candidate("trees", lambda asked: asked.weight, None, 0.99)

    def taken(*by: float) -> str:
        rules = [of_size(*size, one) for size, one in zip((small, middle, large), by, strict=True)]
        return chosen([trees, *rules]).name

    assert taken(0.975, 0.985, 0.99) == "1 curves, 0 classes"
    assert taken(0.965, 0.975, 0.99) == "10 curves, 0 classes"
    assert taken(0.965, 0.965, 0.975) == "10 curves, 10 classes"
    assert taken(0.5, 0.6, 0.55) == "10 curves, 0 classes", "none is close, and the best is taken"
    alike = [dataclasses.replace(of_size(1, 0, by), name=str(by)) for by in (0.98, 0.985, 0.975)]
    assert chosen([trees, *alike]).name == "0.985", "of those of one size the best"


def test_rows_of_several_runs_keep_samples_and_steps_apart() -> None:
    first, second = rows("loss", steps=4), rows("loss", seed=1, steps=3)
    both = together([first, second[second.sample > 1]])
    assert len(both) == 240 + 174
    assert len(np.unique(both.step)) == 7
    assert len(np.unique(both.sample)) == 60 + 58
    assert both.weight[240:].tolist() == second.weight[second.sample > 1].tolist()
    with pytest.raises(UserError, match=r"^the runs have other classes or other units of the loss"):
        together([first, dataclasses.replace(second, classes=4)])


def test_the_direction_is_that_of_the_data() -> None:
    hard_first = dataclasses.replace(rows("loss"), weight=1 - rows("loss").weight)
    rule = chosen(candidates(hard_first)).rule
    assert rule is not None
    assert (np.diff(rule.weights) >= 0).all()
    assert np.ptp(rule.weights) > 0.8


def test_a_weighting_of_all_or_nothing_has_a_rule_that_can_be_read(tmp_path: Path) -> None:
    of = rows("loss")
    taken = chosen(candidates(dataclasses.replace(of, weight=(of.seen["loss"] < 1.5).astype(np.float64))))
    assert taken.rule is not None
    (tmp_path / "rule.json").write_text(taken.rule.text())
    np.testing.assert_allclose(said_by(Rule.read(tmp_path / "rule.json"), of), said_by(taken.rule, of), atol=1e-4)


def test_of_more_classes_than_a_file_holds_there_is_no_table() -> None:
    names = [one.name for one in candidates(dataclasses.replace(rows("class"), classes=MOST_VALUES + 1))]
    assert not [name for name in names if "class" in name]


def test_fidelity_by_hand() -> None:
    of = rows("loss", n=2, steps=2)
    of = dataclasses.replace(of, weight=np.array([0.9, 0.1, 0.8, 0.2]))
    found = fidelity_of(of, np.array([0.8, 0.3, 0.4, 0.6]))
    assert found.r_squared == pytest.approx(1 - (0.01 + 0.04 + 0.16 + 0.16) / (4 * 0.125))
    assert found.spearman == pytest.approx(0.8)  # ranks 4 1 3 2 and 4 1 2 3, Σd² = 2: 1 − 6·2/60
    assert found.spearman_in_step == 0
    assert found.agreement == 0.5


@pytest.fixture(scope="module")
def self_paced(small_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    schedule = CurriculumConfig(method="self-paced", pace="linear", meta_in_training=0.0)
    return trainer_for(small_splits, tmp_path_factory.mktemp("runs"), "paced", curriculum=schedule).fit()


def test_the_rows_are_those_of_the_run(self_paced: Outcome) -> None:
    table = self_paced.ledger().to_pandas().sort_values("step", kind="stable")
    found = rows_of(RunDirectory(self_paced.path))
    percentile = RunningPercentile(0.6, 0.9)
    levels = table.groupby("step")["loss"].transform(
        lambda part: float(percentile.update(torch.tensor(part.to_numpy())))
    )
    np.testing.assert_allclose(found.seen["loss_difference"], table["loss"] - levels, rtol=0, atol=1e-6)
    assert found.weight == pytest.approx(table["scored_weight"].to_numpy())
    expected = table.groupby("step")["loss"].rank(method="average")
    sizes = table.groupby("step")["loss"].transform("size")
    np.testing.assert_allclose(found.seen["quantile"], (expected - 0.5) / sizes)
    assert found.classes == 3


@pytest.mark.long
def test_a_run_is_distilled_and_its_rule_weighs_another(
    self_paced: Outcome, small_splits: Splits, tmp_path: Path
) -> None:
    of = RunDirectory(self_paced.path)
    made = distilled([of])
    assert made.others == 0
    assert made.fidelity.columns.tolist() == ["r_squared"]
    assert made.rule.made_from["runs"] == ["paced"]
    assert made.rule.made_from["method"] == "self-paced"
    assert made.fidelity.loc[made.name, "r_squared"] > 0.9
    data = beside(made.rule, rows_of(of))
    assert data["rows"].sum() == len(rows_of(of))
    assert (data["said"].dropna().between(0, 1)).all()
    file = tmp_path / "rule.json"
    file.write_text(made.rule.text())
    schedule = CurriculumConfig(method=f"rule:{file}", burn_in=0.0)
    outcome = trainer_for(small_splits, tmp_path, "ruled", curriculum=schedule).fit()
    rows_there = rows_of(RunDirectory(outcome.path))
    np.testing.assert_allclose(rows_there.weight, said_by(Rule.read(file), rows_there), atol=2e-3)
    with pytest.raises(UserError, match="which the rule is made of; give runs of other seeds, or leave it out"):
        distilled([of], [of])


def test_a_run_whose_weights_are_all_alike_has_no_rule(small_splits: Splits, tmp_path: Path) -> None:
    schedule = CurriculumConfig(method="uniform", meta_in_training=0.0)
    path = trainer_for(small_splits, tmp_path, "plain", curriculum=schedule, epochs=1).fit().path
    with pytest.raises(UserError, match="all samples had the same weight, so that there is no rule to be made"):
        rows_of(RunDirectory(path))


def half_done(path: Path, epochs: int, planned: int) -> Rows:
    """Of a run with five steps an epoch, of which ``epochs`` have ended and the next one has had two."""
    rows = [
        row(sample, epoch, 0, 0, 1.0, loss=float(sample), scored_weight=sample / 10, step=5 * epoch + step)
        for epoch in range(epochs + 1)
        for step in range(5 if epoch < epochs else 2)
        for sample in range(3)
    ]
    return rows_of(RunDirectory(str(run_of(path, rows, epochs=planned))))


def test_progress_is_that_of_the_run_as_it_was_planned(tmp_path: Path) -> None:
    """A rule goes by progress in a whole run: of a run that was stopped its first part is known."""
    stopped = half_done(tmp_path / "stopped", 4, planned=20)
    assert np.unique(stopped.progress).tolist() == pytest.approx((np.arange(22) / 100).tolist())
    ended = half_done(tmp_path / "ended", 4, planned=5)
    assert np.unique(ended.progress).tolist() == pytest.approx((np.arange(22) / 22).tolist())
    first = half_done(tmp_path / "first", 0, planned=1)
    assert np.unique(first.progress).tolist() == [0, 0.5]


def test_rows_begin_where_weights_differ_and_differences_are_the_runs_own(tmp_path: Path) -> None:
    """A loss's difference is from the percentile that the settings say, into which all steps before have gone."""
    losses = [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]
    rows = [
        row(i, step, 0, 0, 1.0, loss=loss, scored_weight=0.5 if step == 0 else 0.1 + i / 10)
        for step, part in enumerate(losses)
        for i, loss in enumerate(part)
    ]
    path = run_of(tmp_path, rows, epochs=3)
    (path / "config.toml").write_text("epochs = 3\nloss_percentile = 0.25\npercentile_decay = 0.5\n")
    found = rows_of(RunDirectory(str(path)))
    assert found.step.tolist() == [1, 1, 1, 2, 2, 2]
    assert found.seen["loss"].tolist() == [3, 4, 5, 6, 7, 8]
    assert found.seen["loss_difference"].tolist() == pytest.approx([1, 2, 3, 1.75, 2.75, 3.75])


def test_of_several_other_runs_it_is_the_mean(tmp_path: Path) -> None:
    def of(name: str, slope: float) -> RunDirectory:
        draw = np.random.default_rng(len(name))
        losses = draw.exponential(1, (20, 10))
        rows = [
            row(i, step, 0, 0, 1.0, loss=loss, scored_weight=1 / (1 + np.exp(slope * (loss - 1))))
            for step, part in enumerate(losses.tolist())
            for i, loss in enumerate(part)
        ]
        return RunDirectory(str(run_of(tmp_path / name, rows, epochs=20)))

    made, others = of("a", 3.0), [of("bb", 3.0), of("ccc", 0.5)]
    one, two = (distilled([made], [other]).fidelity for other in others)
    both = distilled([made], others).fidelity
    assert abs(one.loc["loss", "r_squared"] - two.loc["loss", "r_squared"]) > 0.1
    np.testing.assert_allclose(both.to_numpy(), ((one + two) / 2).to_numpy())


@pytest.mark.parametrize(("samples", "differ"), [(1, 1), (50, 1)])
def test_of_too_few_samples_there_is_no_rule(samples: int, differ: int) -> None:
    of = rows("loss", n=samples, steps=20)
    of = dataclasses.replace(of, weight=np.where(of.sample < differ, of.weight, 0.5))
    with pytest.raises(UserError, match=rf"^of {samples} samples too few have weights that differ for a rule .* more"):
        candidates(of)


def test_of_few_rows_there_is_one() -> None:
    """Fewer than a curve over progress has stretches."""
    of = rows("progress", n=2, steps=4)
    assert np.isfinite([one.chosen_by for one in candidates(of)]).all()


def test_a_direction_that_is_not_sure_is_no_warning() -> None:
    of = rows("loss", n=10, steps=20)
    level = dataclasses.replace(of, seen={name: np.ones(len(of)) for name in of.seen})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chosen(candidates(level)).chosen_by < 0.1


def test_a_run_by_another_path_is_the_run(tmp_path: Path) -> None:
    half_done(tmp_path / "run", 1, planned=2)
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with pytest.raises(UserError, match="/link, which the rule is made of; give runs of other seeds, or leave it out"):
        distilled([RunDirectory(str(tmp_path / "run"))], [RunDirectory(str(tmp_path / "link"))])
