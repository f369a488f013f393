"""How methods are compared: what is chosen on what, what a row is, what the intervals say, and the pages' tables."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bookkeeping
import numpy as np
import pytest
import torch
from meta_step import our_contenders
from peers.double_backward import DoubleBackward
from peers.ours import Defaults, Ours
from peers.problem import Setting, flat, true_hypergradient
from protocol import pages, running, table
from protocol.methods import BASELINE, MENTOR, MENTORS, METHODS, ORACLE
from protocol.pruning import agreeing, fold_rows
from protocol.regimes import HUMAN, KEY, SYMMETRIC, RunCell, regimes
from protocol.rows import Rows, read
from protocol.running import FIGURES, run_method
from protocol.selection import chosen
from scipy import stats

from ray_mentor import TrainConfig
from ray_mentor.cli import _parsed
from ray_mentor.config import compared
from ray_mentor.config.compare import CompareConfig
from ray_mentor.data.splits.meta_parts import meta_parts
from ray_mentor.data.splits.splits import Splits, prepare
from ray_mentor.run.over_seeds.intervals import gap_closed, mean
from ray_mentor.students import make_student

ROOT = Path(__file__).parents[1]

# Rows


def cell(method: str, rate: float = 0.04, seed: int = 0) -> dict[str, Any]:
    return {"noise": SYMMETRIC, "method": method, "learning_rate": rate, "seed": seed}


def test_what_is_in_the_file_is_not_run_again(tmp_path: Path) -> None:
    ran = []

    def run(what: Mapping[str, Any]) -> dict[str, Any]:
        ran.append(what["seed"])
        if what["seed"] == 2:
            raise KeyboardInterrupt
        return {"test_accuracy": 1 / 3}

    def rows() -> Rows:
        return Rows(tmp_path / "folder/rows.csv", KEY, ("test_accuracy", "noise_auroc"))

    with pytest.raises(KeyboardInterrupt):
        rows().fill([cell("uniform", 0.08, seed) for seed in range(4)], run)
    with rows().path.open("a") as file:
        file.write(f"{SYMMETRIC},uniform,0.08,2,0.")  # and the process is killed while it writes
    assert [row["seed"] for row in rows().read()] == ["0", "1"]
    rows().fill([cell("uniform", 0.08, seed) for seed in (0, 1, 3)], run)
    assert ran == [0, 1, 2, 3]
    assert rows().read()[-1] == {
        "noise": SYMMETRIC, "method": "uniform", "learning_rate": "0.08", "seed": "3", "test_accuracy": "0.333333",
        "noise_auroc": "",
    }  # fmt: skip


@pytest.mark.long
def test_processes_share_the_cells(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows.csv", KEY, ("test_accuracy",))
    cells = [cell("uniform", 0.08, seed) for seed in range(6)]
    rows.fill(cells, functools.partial(dict, test_accuracy=0.5), processes=2)
    assert sorted(row["seed"] for row in rows.read()) == list("012345")
    assert rows.missing(cells) == []


def _fails_first(cell: Mapping[str, Any]) -> dict[str, float]:
    if cell["seed"] == 0:
        raise ZeroDivisionError("of seed 0")
    time.sleep(1.0)
    return {"test_accuracy": 0.5}


@pytest.mark.long
@pytest.mark.slow
def test_a_run_that_fails_takes_no_row_of_another_with_it(tmp_path: Path) -> None:
    rows = Rows(tmp_path / "rows.csv", KEY, ("test_accuracy",))
    with pytest.raises(ZeroDivisionError, match="of seed 0"):
        rows.fill([cell("uniform", 0.08, seed) for seed in range(20)], _fails_first, processes=2)
    assert 1 <= len(rows.read()) < 10


def test_a_file_of_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("method,seed\n")
    with pytest.raises(ValueError, match=r"has the columns \('method', 'seed'\), not \('noise', 'method', 'learning"):
        Rows(tmp_path / "rows.csv", KEY, ())


# Selection


def trials(merit: Mapping[float, tuple[float, float]]) -> list[dict[str, str]]:
    """Two seeds at each rate, with those accuracies on trusted samples; the test split says the opposite."""
    return [
        {"method": "uniform", "learning_rate": f"{rate:g}", "seed": str(seed), "trusted_accuracy": str(accuracy),
         "test_accuracy": str(1 - accuracy)}
        for rate, accuracies in merit.items() for seed, accuracy in enumerate(accuracies)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("merit", "best"),
    [
        ({0.02: (0.9, 0.8), 0.04: (0.7, 0.8), 0.08: (0.8, 0.8)}, 0.02),
        ({0.02: (0.9, 0.8), 0.04: (0.7, 0.8), 0.08: (0.8, 1.0)}, 0.08),
        ({0.02: (0.9, 0.8), 0.04: (0.8, 0.9), 0.08: (0.8, 0.9)}, 0.04),  # level: the middle one
    ],
)
def test_a_rate_is_chosen_on_trusted_samples_alone(merit: Any, best: float) -> None:
    assert chosen(trials(merit), ["uniform"], (0.02, 0.04, 0.08)) == {"uniform": best}


def test_nothing_is_chosen_of_unequal_seeds() -> None:
    rows = trials({0.02: (0.9, 0.8), 0.04: (0.7, 0.8), 0.08: (0.8, 0.8)})
    for fewer in (rows[:-1], rows[:-2], rows[2:]):
        with pytest.raises(ValueError, match="of uniform the seeds at each learning rate are"):
            chosen(fewer, ["uniform"], (0.02, 0.04, 0.08))


@pytest.mark.parametrize("name", ["digits", "A", "B"])
def test_what_is_reported_was_not_chosen_on(name: str) -> None:
    regime = regimes()[name]
    assert set(regime.selection_seeds) <= set(range(10))
    assert min(regime.final_seeds) >= 100
    assert len(regime.final_seeds) == 5
    assert len(regime.rates) == 3
    if name != "digits":
        assert regime.selection_test is not None
        assert regime.final_test is not None
        assert sorted([*regime.selection_test, *regime.final_test]) == list(range(10_000))
        assert len(regime.selection_test) == 4_000


# Methods


def test_all_have_the_same_means() -> None:
    configs = {name: method.config(TrainConfig(), seed=3, learning_rate=0.02) for name, method in METHODS.items()}
    for name, config in configs.items():
        without = ("uniform", "trusted-only", "mentornet-pseudo-clean")
        assert config.curriculum.in_training == (0.0 if name in without else 1.0), name
        assert (config.run, config.student) == (
            dataclasses.replace(TrainConfig().run, seed=3),
            dataclasses.replace(TrainConfig().student, learning_rate=0.02),
        )
        if name.endswith("-mentormix"):
            assert config.curriculum.mixing == "mentormix"
    assert [configs[name].curriculum.method for name in (MENTOR, BASELINE, ORACLE)] == [
        "mentornet", "uniform", "oracle",
    ]  # fmt: skip
    assert configs[MENTOR].changed(mixing="mentormix", method="") == configs[BASELINE].changed(method="")
    assert configs[ORACLE].changed(method="") == configs[BASELINE].changed(method="")


def test_every_line_of_compare_is_measured_and_oracles_come_last() -> None:
    assert set(compared.METHODS) < set(METHODS)
    assert list(METHODS)[-2:] == ["oracle", ORACLE]
    assert {MENTOR, "mentornet-gce", "meta-weight-net"} <= MENTORS
    assert not MENTORS & {BASELINE, ORACLE, "gce", "l2rw"}


def test_labels_that_people_gave_are_a_noise_of_photographs_alone() -> None:
    found = regimes(people=lambda which: Path(which))
    assert HUMAN not in found["digits"].noises
    assert not {"randaugment", "trivialaugment"} & set(found["digits"].methods)
    config = found["A"].at(HUMAN)
    assert (config.data.data, config.data.noise, config.data.true_label_column) == ("random1", "none", "true_label")
    assert found["A"].at("asymmetric:0.4") == found["A"].base.changed(noise="asymmetric:0.4")
    assert {cell["noise"] for cell in found["A"].cells(HUMAN, ["gce"])} == {HUMAN}


@pytest.fixture(scope="module")
def digits() -> Splits:
    return prepare(TrainConfig().data, 0)


SHORT = TrainConfig().changed(epochs=4)


def test_a_row_of_a_short_run_of_the_mentor() -> None:
    regime = dataclasses.replace(regimes()["digits"], base=SHORT.changed(update_interval=5))
    found = RunCell(regime, None)(cell(MENTOR, 0.08))
    assert list(found) == list(FIGURES)
    assert found["trusted_held_out"] == 30
    assert 0.5 < found["test_accuracy"] < 1
    assert found["weight_wrong"] < found["weight_right"]
    assert found["cpu_seconds"] > 0


def test_trusted_samples_alone_have_as_many_steps_and_never_those_held_out(
    digits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def trained(config: TrainConfig, splits: Splits, folder: str) -> Any:
        seen.append(splits)
        raise KeyboardInterrupt

    monkeypatch.setattr("protocol.running.trained", trained)
    with pytest.raises(KeyboardInterrupt):
        run_method("trusted-only", METHODS["trusted-only"].config(TrainConfig()))
    (splits,) = seen
    parts = meta_parts(digits.meta, holdout=0.3, training=1.0, seed=0)
    assert parts.held_out is not None
    assert parts.trained is not None
    assert len(splits.train) == len(digits.train)
    content = set(splits.train.inputs.content_hashes())
    assert content == set(parts.trained.inputs.content_hashes())
    assert not content & set(parts.held_out.inputs.content_hashes())


# Pruning


def test_folds_part_the_rows_and_spread_each_class() -> None:
    labels = np.repeat(np.arange(4), [50, 23, 7, 1])
    folds = fold_rows(labels, 5, seed=3)
    assert sorted(np.concatenate(folds).tolist()) == list(range(81))
    counts = np.array([np.bincount(labels[rows], minlength=4) for rows in folds])
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert any((a != b).any() for a, b in zip(folds, fold_rows(labels, 5, seed=4), strict=True))


def test_no_fold_is_judged_by_a_student_that_was_trained_on_it(digits: Splits) -> None:
    left_out = []

    def run(data: Splits) -> Any:
        left_out.append(sorted(set(digits.train.ids.tolist()) - set(data.train.ids.tolist())))
        assert data.meta is digits.meta
        assert data.test is None
        return SimpleNamespace(student_state=make_student("mlp", (64,), 10).state_dict())

    agreeing(TrainConfig(), digits, run)
    assert len(left_out) == 5
    assert sorted(itertools.chain(*left_out)) == sorted(digits.train.ids.tolist())


def test_pruning_drops_most_wrong_labels(digits: Splits) -> None:
    agrees, seconds = running._agreeing(SHORT.changed(method="uniform", mixing="none"))
    wrong = digits.train.labels != digits.train.true_labels
    assert agrees[wrong].mean() < 0.15
    assert agrees[~wrong].mean() > 0.6
    again, _ = running._agreeing(SHORT.changed(method="uniform", mixing="none"))
    assert again is agrees
    assert seconds > 0


# Intervals


def test_the_interval_of_a_mean_is_students() -> None:
    values = [0.94, 0.96, 0.95, 0.93, 0.97]
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    found = mean(values)
    assert (found.value, found.low, found.high) == pytest.approx((0.95, low, high))
    assert mean([0.5]).low is None


def test_the_bounds_of_a_gap_are_what_a_paired_test_just_refutes() -> None:
    draw = np.random.default_rng(0)
    baseline = 0.9 + 0.01 * draw.normal(size=5)
    oracle, method = baseline + 0.08 + 0.01 * draw.normal(size=5), baseline + 0.06 + 0.01 * draw.normal(size=5)
    found = gap_closed(method, baseline, oracle)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    for bound in (found.low, found.high):
        assert stats.ttest_1samp(method - baseline - bound * (oracle - baseline), 0).pvalue == pytest.approx(0.05)


def test_of_a_gap_that_may_be_none_nothing_is_known() -> None:
    found = gap_closed([0.5, 0.6, 0.5], [0.5, 0.6, 0.5], [0.6, 0.5, 0.61])
    assert (found.low, found.high) == (None, None)


# Tables and pages

ACCURACY = {
    "mixup": [0.8, 0.82], MENTOR: [0.86, 0.88], BASELINE: [0.7, 0.72], ORACLE: [0.9, 0.91],
}  # fmt: skip


def reported(accuracy: Mapping[str, list[float]] = ACCURACY) -> list[dict[str, str]]:
    return [
        {"method": name, "learning_rate": "0.04", "seed": str(100 + seed), "test_accuracy": str(value),
         "noise_auroc": "" if name == ORACLE else "0.5", "trusted_accuracy": "0.5"}
        for name, values in accuracy.items() for seed, value in enumerate(values)
    ]  # fmt: skip


def test_a_table_has_the_gap_and_the_mentors_lead() -> None:
    found = {line.method: line for line in table.lines(reported())}
    gap, ahead = found[MENTOR].gap, found["mixup"].ahead
    assert gap is not None
    assert gap.value == pytest.approx(0.16 / 0.195)
    assert ahead is not None
    assert (ahead.value, ahead.low, ahead.high) == pytest.approx((0.06, 0.06, 0.06))
    assert [found[name].gap for name in (BASELINE, ORACLE)] == [None, None]
    assert found[MENTOR].ahead is None
    assert found[ORACLE].auroc is None
    assert table.points(ahead) == "6.0 points (6.0 to 6.0)"
    assert table.accuracy(found[MENTOR].accuracy) == "0.870 (0.743 to 0.997)"


def test_the_rates_that_were_tried_are_shown_whatever_was_chosen() -> None:
    rows = trials({0.02: (0.9, 0.8), 0.04: (0.7, 0.8), 0.08: (0.8, 0.8)})
    shown = table.rates(rows, {"uniform": 0.02}, (0.02, 0.04, 0.08))
    assert (
        shown.splitlines()[2] == "| plain training, without trusted samples (`uniform`) | **0.150** | 0.250 | 0.200 |"
    )


def test_a_method_with_other_seeds_or_more_than_one_rate_is_no_line() -> None:
    with pytest.raises(ValueError, match="other seeds"):
        table.lines(reported()[1:])
    rows = reported()
    rows[0]["learning_rate"] = "0.08"
    with pytest.raises(ValueError, match=r"rows at the learning rates \[0.04, 0.08\], but a method is reported at one"):
        table.lines(rows)


def test_the_table_of_noises_says_what_lies_above_the_best_mentor() -> None:
    far = {"gce": [0.95, 0.952], "mixup": [0.871, 0.872], "co-teaching": [0.99, 0.99]}
    found = {SYMMETRIC: table.lines(reported()), "instance:0.4": table.lines(reported(ACCURACY | far))}
    shown = table.noises(found).splitlines()
    assert shown[0] == "| method | symmetric:0.4 | instance:0.4 |"
    (line,) = [line for line in shown if "(`gce`)" in line]
    assert line.endswith("| – | 0.951 ± 0.001 |")
    (line,) = [line for line in shown if f"(`{MENTOR}`)" in line]
    assert line.endswith("| **0.870 ± 0.014** | 0.870 ± 0.014 |")
    assert shown[-2:] == [
        f"- {SYMMETRIC}: best mentor `mentornet`, 0.870; above it by more than a standard deviation, with one "
        "student: none",
        "- instance:0.4: best mentor `mentornet`, 0.870; above it by more than a standard deviation, with one "
        "student: `gce` 8.1 points",
    ]


@pytest.mark.parametrize("inside", ["", "as it was\n"])
def test_each_block_has_a_table_of_its_own(inside: str) -> None:
    blocks = [f"<!-- table: digits {kind} -->\n{inside}<!-- end of table -->" for kind in ("brief", "rates")]
    found = pages.written("\nbetween\n".join(blocks)).split("\nbetween\n")
    assert [text.count("| **the mentor") for text in found] == [1, 0]
    assert [text.splitlines()[1].split("|")[1].strip() for text in found] == ["", "learning rate"]


def test_a_regime_without_final_rows_leaves_what_the_page_says(tmp_path: Path) -> None:
    text = "<!-- table: A whole -->\nas it was\n<!-- end of table -->"
    assert pages.written(text, tmp_path) == text


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_the_pages_tables_are_those_of_the_rows(page: Path) -> None:
    """If not: python benchmarks/compare.py digits --final --pages."""
    text = page.read_text()
    assert pages.written(text) == text


def test_a_figure_that_is_not_of_the_rows_is_found() -> None:
    reports = sorted(pages.TABLES.glob("*_final.csv"))
    text = (ROOT / "docs" / "measured.md").read_text()
    for report in reports:
        assert f"<!-- table: {report.stem.removesuffix('_final')} whole -->" in text
        (line,) = [line for line in table.lines(pages.at(SYMMETRIC, read(report))) if line.method == MENTOR]
        figure = table.accuracy(line.accuracy)
        assert figure in text
        assert pages.written(text.replace(figure, "0.999 (0.998 to 1.000)")) == text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["A", "B"])
def test_the_regimes_of_photographs_start(name: str) -> None:
    regime = regimes()[name]
    if not Path(regime.base.data.data).exists():
        pytest.skip("CIFAR-10 is not beside the project")
    few = regime.base.changed(epochs=1, train_size=256)
    found = RunCell(dataclasses.replace(regime, base=few), range(4_000, 4_100))(cell(MENTOR, 0.1))
    assert 0 <= found["test_accuracy"] <= 1
    assert found["trusted_held_out"] in (150, 300)


# Cost


@pytest.mark.long
@pytest.mark.parametrize("name", ["uniform-trusted", MENTOR])
def test_what_is_beside_a_student_is_a_part_of_its_step(name: str) -> None:
    beside = bookkeeping.milliseconds(name, bookkeeping.OneWeight, batch=16, steps=20)
    own = bookkeeping.milliseconds(name, lambda: make_student("cnn", (3, 32, 32), 10), batch=16, steps=4)
    assert 0 < beside < own


def asked_of_compare(folder: Path, **environment: str) -> list[CompareConfig]:
    """What benchmarks/noisy_cifar.sh asks of a machine whose `ray-mentor` prints its words."""
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / "benchmarks").mkdir()
    script = shutil.copy(ROOT / "benchmarks/noisy_cifar.sh", folder / "benchmarks")
    command = folder / ".venv/bin/ray-mentor"
    command.write_text('#!/bin/sh\necho "$@"\n')
    command.chmod(0o755)
    (folder / ".venv/bin/python").symlink_to("/bin/true")
    done = subprocess.run(
        ["bash", script, "--epochs", "1"],
        env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [_parsed(line.split()[1:], CompareConfig, "compare")[0] for line in done.stdout.splitlines()]


def test_the_script_for_a_gpu_compares_on_both_data_sets(tmp_path: Path) -> None:
    found = asked_of_compare(tmp_path / "all")
    assert [(each.train.data.data, each.train.run.run_name) for each in found] == [
        ("cifar10", "noisy-cifar10"), ("cifar100", "noisy-cifar100"),
    ]  # fmt: skip
    for each in found:
        assert each.train.run.gpu
        assert each.train.data.hold_on_device
        assert each.train.run.epochs == 1
        assert each.compare.noises == ("symmetric:0.2,symmetric:0.4,symmetric:0.8,asymmetric:0.4",)
    (one,) = asked_of_compare(tmp_path / "one", DEVICE="cpu", CIFAR10="folder", CIFAR100="")
    assert (one.train.data.data, one.train.run.gpu, one.train.student.student) == ("folder", False, "resnet32")


# Peers


def test_a_peer_learns_every_so_many_steps_and_weighs_in_the_others() -> None:
    kind = DoubleBackward.at(3)
    assert (kind.name, kind.period, kind.has_hypergradient) == ("double backward, k = 3", 3, False)
    peer = kind.of(Setting("mlp", 8, "cpu"))
    learned, moved = [], []
    for _ in range(6):
        before = [flat(module.parameters()) for module in (peer.problem.mentor, peer.problem.student)]
        peer.step()
        after = [flat(module.parameters()) for module in (peer.problem.mentor, peer.problem.student)]
        learned.append(not torch.equal(before[0], after[0]))
        moved.append(not torch.equal(before[1], after[1]))
    assert learned == [False, False, True] * 2
    assert all(moved)


def test_a_peer_of_every_step_has_a_hypergradient_near_the_truth() -> None:
    setting = Setting("mlp", 32, "cpu", torch.float64)
    found, truth = DoubleBackward.at(1).of(setting).hypergradient(), true_hypergradient(setting)
    assert torch.nn.functional.cosine_similarity(found, truth, dim=0) > 0.99


@pytest.mark.parametrize("kind", [Defaults, *our_contenders(8)], ids=lambda kind: kind.name)
def test_ours_learns_at_the_first_step_and_every_so_many(kind: type[Ours]) -> None:
    contender = kind.of(Setting("mlp", 8, "cpu"))
    assert kind.period in (1, 20)
    states = [contender.mentor.state.payload]
    for _ in range(kind.period + 1):
        contender.step()
        states.append(contender.mentor.state.payload)
    learned = [i for i, (before, after) in enumerate(itertools.pairwise(states)) if before != after]
    assert learned == [0, kind.period]
