"""Runs in this process whose samples come from several sources: what they draw, learn, go on from and refuse."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow.compute as pc
import pytest
import torch
from mixed_runs import SETTINGS, STEPS, blobs, mixed_trainer, sources
from page_text import figures
from small_runs import UNMIXED, assert_same_run, carried, interrupted
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from ray_mentor.config import CurriculumConfig, MixtureConfig
from ray_mentor.core.losses.cross_entropy import sequence_cross_entropy
from ray_mentor.data import Samples
from ray_mentor.errors import UserError
from ray_mentor.report.terminal import closing_rows, look_at_next
from ray_mentor.run.outcome import Outcome

pytestmark = pytest.mark.long  # runs that are stopped and go on


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mixed")


@pytest.fixture(scope="module")
def whole(storage: Path) -> Outcome:
    """A mentor weighs samples within sources, while shares move."""
    return mixed_trainer(storage, "whole").fit()


def shares_of(outcome: Outcome) -> dict[str, float]:
    found: dict[str, float] = carried(outcome)["mixture"]["updates"][-1]["shares"]
    return found


def test_junk_goes_down_and_what_helps_stays(whole: Outcome) -> None:
    shares = shares_of(whole)
    assert shares["junk"] < 0.1
    assert min(shares["good"], shares["more"]) > 0.2
    assert whole.result["meta_updates"] > 0
    assert whole.result["steps"] == STEPS


def test_each_step_shows_what_its_window_says(whole: Outcome) -> None:
    """The trusted samples are not trained on, and an update holds from the next window on."""
    ledger, windows = whole.ledger(), carried(whole)["mixture"]["windows"]["windows"]
    source = np.array([name.split("/")[0] for name in ledger["sample_id"].to_pylist()])
    step = ledger["step"].to_numpy()
    assert len(ledger) == STEPS * 30
    names = list(sources())
    for first, *counts in windows:
        inside = (step >= first) & (step < first + SETTINGS.shares_interval)
        assert [int((source[inside] == name).sum()) for name in names] == counts
    assert windows[0][1:] == windows[1][1:] == windows[2][1:] == [40, 40, 40]  # burn-in is 8 steps
    assert windows[3][1:] != [40, 40, 40]


@pytest.mark.parametrize(
    ("by", "shares"),
    [("uniform", [1 / 3] * 3), ("size", [0.4, 13 / 30, 1 / 6]), ("fixed:junk=0.1,good=0.6,more=0.3", [0.6, 0.1, 0.3])],
)
def test_shares_that_are_not_learnt_stay(by: str, shares: list[float], tmp_path: Path) -> None:
    mixture = dataclasses.replace(SETTINGS, mixture=by)
    changes: dict[str, Any] = {"meta": None, "curriculum": CurriculumConfig(method="uniform"), "epochs": 4}
    outcome = mixed_trainer(tmp_path, "run", mixture=mixture, **changes).fit()
    found = pc.value_counts(pc.binary_slice(outcome.ledger()["sample_id"].cast("string").cast("binary"), 0, 4))
    counts = dict(
        zip([row["values"].as_py().decode() for row in found], found.field("counts").to_pylist(), strict=True)
    )
    np.testing.assert_allclose([counts[name] for name in sources()], np.array(shares) * STEPS / 2 * 30, atol=12)


@pytest.mark.parametrize("rule", ["odm", "doge"])
def test_published_rules_move_shares(rule: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"curriculum": CurriculumConfig(method="uniform"), "epochs": 2}
    outcome = mixed_trainer(tmp_path, rule, mixture=dataclasses.replace(SETTINGS, mixture=rule), **changes).fit()
    assert max(abs(share - 1 / 3) for share in shares_of(outcome).values()) > 0.01


@pytest.mark.parametrize("steps", [9, 38])
def test_a_stopped_run_goes_on_to_the_same_bits(steps: int, whole: Outcome, tmp_path: Path) -> None:
    """From a checkpoint inside a window, and from one at its first step."""
    with pytest.raises(KeyboardInterrupt):
        mixed_trainer(tmp_path, "stopped", checkpoint_steps=3, optimizer=interrupted(steps)).fit()
    outcome = mixed_trainer(tmp_path, "stopped", checkpoint_steps=3, resume=True).fit()
    assert_same_run(outcome, whole)
    table = (Path(outcome.path) / "mixture.csv").read_text()
    assert table == (Path(whole.path) / "mixture.csv").read_text()


def test_shares_are_measured_by_the_real_step_where_it_is_clipped(whole: Outcome, tmp_path: Path) -> None:
    """At a step clipped to c of its length, influences are about c of what they are where nothing is clipped."""
    settings = dataclasses.replace(SETTINGS, shares_burn_in=0.0)
    changes = {"curriculum": CurriculumConfig(method="uniform"), "epochs": 1, "mixture": settings, "optimizer": sgd}
    free = carried(mixed_trainer(tmp_path, "free", **changes).fit())["mixture"]["updates"][0]
    short = carried(mixed_trainer(tmp_path, "short", clip=0.01, **changes).fit())["mixture"]["updates"][0]
    for name in sources():
        assert abs(short["influence"][name]) < 0.2 * abs(free["influence"][name])


def test_doremi_goes_by_the_losses_of_another_run(whole: Outcome, tmp_path: Path) -> None:
    """Beside a reference that knows the good sources and not the junk, whose excess is then the smallest."""
    settings = dataclasses.replace(SETTINGS, mixture="doremi", reference=whole.path)
    changes: dict[str, Any] = {"curriculum": CurriculumConfig(method="uniform"), "epochs": 2, "meta": None}
    outcome = mixed_trainer(tmp_path, "doremi", mixture=settings, **changes).fit()
    excess = carried(outcome)["mixture"]["updates"][0]["influence"]
    assert min(excess.values()) >= 0
    assert min(excess["good"], excess["more"]) > excess["junk"]
    shares = shares_of(outcome)
    assert min(shares["good"], shares["more"]) > shares["junk"]


def sgd(params: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, 0.1)


def windows(seed: int, n: int, *, junk: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Places of a circle one after the other, or any; and the one that follows each."""
    draw = torch.Generator().manual_seed(seed)
    steps = (torch.arange(9) + torch.randint(60, (n, 1), generator=draw)) % 60
    steps = torch.randint(60, (n, 9), generator=draw) if junk else steps
    return steps[:, :-1], steps[:, 1:]


def next_place() -> nn.Module:
    return nn.Sequential(nn.Embedding(60, 16), nn.Linear(16, 60))


SEQUENCES: dict[str, Any] = {
    "student": next_place,
    "loss": sequence_cross_entropy,
    "test": None,
    "curriculum": CurriculumConfig(method="uniform"),
}


def test_labels_may_be_sequences(tmp_path: Path) -> None:
    """As arrays, or as data sets; all windows that there are without junk are 60."""
    data = {"good": windows(1, 150), "junk": TensorDataset(*windows(2, 150, junk=True))}
    with pytest.raises(UserError, match="samples of good are in the target meta as well"):
        mixed_trainer(tmp_path, "overlaps", data=data, meta=windows(3, 40), **SEQUENCES)
    outcome = mixed_trainer(tmp_path, "circle", data=data, meta=Own(*windows(3, 40)), **SEQUENCES).fit()
    assert outcome.result["mixture"]["shares"]["junk"] < 0.1


class Own(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """A data set of the user's own, whose content nobody compares."""

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor) -> None:
        self._inputs, self._labels = inputs, labels

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._inputs[index], self._labels[index]


def without_rows(samples: Samples) -> Samples:
    return samples.select(np.arange(0))


def shuffled(samples: Samples) -> Samples:
    """The same ones in another order."""
    return samples.select(np.random.default_rng(0).permutation(len(samples)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"data": {**sources(), "none": without_rows(blobs(9, 6))}},
            "source 'none' has no samples; give some, or leave",
        ),
        (
            {"data": {**sources(), "again": shuffled(sources()["more"])}},
            "sources 'more' and 'again' have the same 50 samples; leave one of them out",
        ),
        ({"data": blobs(100, 1)}, "prior is 'uniform', but the data are one source, of which nothing is mixed; name"),
        (
            {"meta": None, "curriculum": CurriculumConfig(method="uniform")},
            "mixture is 'learned', but nothing says what",
        ),
        (
            {"meta": sources()["more"].select(np.arange(40))},
            "40 samples of more are in the target meta as well (more/0, more/1, more/2, more/3, more/4, ...), but what",
        ),
        (
            {"curriculum": dataclasses.replace(UNMIXED, meta_in_training=0.5)},
            "meta_in_training is 0.5, but the trusted samples are what shares are measured by",
        ),
        (
            {"curriculum": dataclasses.replace(UNMIXED, meta_in_training=1.0)},
            "meta_in_training is 1, but the trusted samples are what shares are measured by",
        ),
        ({"mixture": dataclasses.replace(SETTINGS, max_repeats=1.0)}, "max_repeats is 1, but 2,400 samples are asked"),
        ({"mixture": dataclasses.replace(SETTINGS, share_floor=0.4)}, "share_floor is 0.4, but 3 sources of at least"),
        (
            {"mixture": MixtureConfig("doremi")},
            "mixture is 'doremi' and reference None, but doremi, and it alone, goes by a model that was trained on the",
        ),
        (
            {"mixture": MixtureConfig("uniform", reference="a")},
            "mixture is 'uniform' and reference 'a', but doremi, and it alone, goes by a model",
        ),
        (
            {"mixture": MixtureConfig("doremi", reference="/not/there")},
            "reference is '/not/there', but there is no such file; give a file of params",
        ),
        (
            {"mixture": MixtureConfig("fixed:good=0.5,bad=0.5")},
            "names good, bad, but the sources are good, junk, more; give each its share (0: none)",
        ),
        ({"data": {"a/b": blobs(9, 1), "c": blobs(9, 2)}}, "a source is called 'a/b', but names are text without a"),
        (
            {"curriculum": CurriculumConfig(method="co-teaching", burn_in=0.0)},
            "mixture is 'learned', which looks back on the steps of one student, but co-teaching trains two; give",
        ),
    ],
)
def test_what_cannot_be_mixed_is_refused(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        mixed_trainer(tmp_path, "refused", **changes)
    assert says in str(raised.value)


def test_other_shares_are_another_run(whole: Outcome, storage: Path) -> None:
    with pytest.raises(UserError, match=r"shares_rate is 0.1, but run .* was started with None"):
        mixed_trainer(storage, "whole", mixture=dataclasses.replace(SETTINGS, shares_rate=0.1), resume=True).fit()


# What it leaves behind


def test_the_table_says_what_each_window_showed(whole: Outcome) -> None:
    with (Path(whole.path) / "mixture.csv").open() as file:
        rows = list(csv.DictReader(file))
    state = carried(whole)["mixture"]
    names = list(sources())
    assert [row["domain"] for row in rows] == names * (STEPS // SETTINGS.shares_interval)
    assert [int(row["step"]) for row in rows[:: len(names)]] == list(range(0, STEPS, SETTINGS.shares_interval))
    for place, (first, *counts) in enumerate(state["windows"]["windows"]):
        own = rows[len(names) * place :][: len(names)]
        assert [float(row["share"]) for row in own] == pytest.approx([count / sum(counts) for count in counts])
        update = next((each for each in state["updates"] if each["step"] == first), None)
        assert (update is None) == (first < 8)
        for row in own:
            assert row["gap"] == "" if update is None else float(row["gap"]) == pytest.approx(update["gap"])
            if update is not None:
                assert float(row["influence"]) == pytest.approx(update["influence"][row["domain"]])
                assert float(row["standard_error"]) == pytest.approx(update["error"][row["domain"]])
    shown = dict(zip(names, np.sum(state["windows"]["windows"], axis=0)[1:], strict=True))
    for row in rows[-len(names) :]:
        assert int(row["samples"]) == shown[row["domain"]]
        assert float(row["epochs"]) == pytest.approx(shown[row["domain"]] / len(sources()[row["domain"]]))


def test_the_result_and_the_terminal_say_the_shares(whole: Outcome) -> None:
    found = whole.result["mixture"]
    assert found["policy"] == "learned"
    assert found["shares"] == shares_of(whole)
    assert sum(found["shares_of_training"].values()) == pytest.approx(1)
    assert found["updates"] == STEPS // SETTINGS.shares_interval - 2
    rows = dict(closing_rows(whole.result))
    assert rows["samples from each source"] == "shares learned for the target"
    values = found["shares"]["good"], found["shares_of_training"]["good"], found["epochs"]["good"]
    assert f"  each window's shares: {whole.path}/mixture.csv\n" in look_at_next(whole.result, whole.path)
    assert rows["  source good"] == "{:.1%} at the end, {:.1%} overall, each {:.1f} times".format(*values)


def test_the_ledger_names_the_source_of_each_sample(whole: Outcome) -> None:
    ledger = whole.ledger()
    named = [name.split("/")[0] for name in ledger["sample_id"].to_pylist()]
    assert ledger["domain"].to_pylist() == named


def test_the_page_draws_shares_and_influences(whole: Outcome) -> None:
    drawn = figures((Path(whole.path) / "report.html").read_text())
    with (Path(whole.path) / "mixture.csv").open() as file:
        junk = [float(row["share"]) for row in csv.DictReader(file) if row["domain"] == "junk"]
    lines = {trace["name"]: trace for trace in drawn["shares"]["data"]}
    assert list(lines) == list(sources())
    assert lines["junk"]["y"] == pytest.approx(junk, rel=1e-4)
    assert lines["junk"]["x"] == list(range(0, STEPS, SETTINGS.shares_interval))
    assert len(drawn["influences"]["data"][0]["y"]) == whole.result["mixture"]["updates"]
    for name in ("shares", "influences"):
        bare = json.loads(re.sub(r'"--[a-z-]+"', '"#123456"', json.dumps(drawn[name])))
        go.Figure(data=bare["data"], layout=bare["layout"])  # plotly knows every word of it


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: None, "this is no state of a mixture of version 2"),
        (lambda state: {**state, "names": ["good", "bad", "more"]}, "names of the mixture's state is"),
        (lambda state: {**state, "shares": {**state["shares"], "shares": [2.0, -1.0, 0.0]}}, "in [0, 1]"),
        (lambda state: {**state, "windows": {**state["windows"], "batch_size": 31}}, "window 0 of the mixture's state"),
    ],
)
def test_a_checkpoint_with_another_mixture_is_refused(
    change: Callable[[dict[str, Any]], Any], says: str, whole: Outcome, tmp_path: Path
) -> None:
    shutil.copytree(whole.path, tmp_path / "whole")
    newest = max((tmp_path / "whole/checkpoints").glob("*.pt"))
    table = torch.load(newest, weights_only=True)
    torch.save({**table, "mixture": change(table["mixture"])}, newest)
    with pytest.raises(UserError) as raised:
        mixed_trainer(tmp_path, "whole", resume=True).fit()
    assert says in str(raised.value)
