"""Runs for several targets: what their shares are learnt from is the weighted mean of the targets' mean losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mixed_runs import CLASSES, blobs, mixed_trainer
from thread_ranks import on_ranks
from torch import Tensor, nn

from ray_mentor.cli import main
from ray_mentor.config import DataConfig
from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.domains import course
from ray_mentor.core.domains.influences import DomainProbe, Target, target_gradient
from ray_mentor.core.exchange import AbstractExchange, Alone
from ray_mentor.core.influence.taken_step import TakenStep, dense_gradient_of, remember
from ray_mentor.core.losses.cross_entropy import sequence_cross_entropy
from ray_mentor.data import FeatureInputs, Samples
from ray_mentor.data.samples.sources.joined import joined_targets
from ray_mentor.data.splits.meta_parts import meta_parts
from ray_mentor.errors import UserError
from ray_mentor.run.meta_set.batches import MetaBatches, of_each_target

pytestmark = pytest.mark.long  # runs

TARGETS = {"qa": blobs(40, 4), "code": blobs(20, 6)}
WEIGHTS = {"qa": 1.0, "code": 3.0}
CPU = torch.device("cpu")


def targets(weights: dict[str, float] | None = WEIGHTS) -> Samples:
    return joined_targets(TARGETS, weights)


def test_targets_are_called_by_name_and_weights_add_up_to_1() -> None:
    found = targets()
    assert found.domains is not None
    assert (found.domains.names, found.domains.weights) == (("qa", "code"), (0.25, 0.75))
    assert found.names is not None
    assert found.names[40].as_py() == "code/0"
    assert targets(None).domains.weights == (0.5, 0.5)  # type: ignore[union-attr]


def test_every_target_stays_in_what_is_learnt_from_and_is_held_out() -> None:
    for seed in range(5):
        parts = meta_parts(targets(), holdout=0.3, training=0.0, seed=seed)
        assert parts.held_out is not None
        for part in (parts.learnt, parts.held_out):
            assert part.domains is not None
            assert min(part.domains.sizes) > 0
    few = joined_targets({"qa": blobs(40, 4), "code": blobs(3, 6)}, None)
    learnt = meta_parts(few, holdout=0.9, training=0.0, seed=0).learnt.domains
    assert learnt is not None
    assert min(learnt.sizes) > 0


def test_the_objective_of_shares_is_the_weighted_mean_of_the_targets_in_float64() -> None:
    """Against autograd through the step: ∂/∂p_d of Σ w_t · mean loss of t, from the batches that a run draws."""
    torch.manual_seed(0)
    student, rate, count = nn.Linear(8, 3).double(), 0.3, 12
    batches = of_each_target(targets(), count, 0, Alone(), CPU)
    assert [weight for _, weight in batches] == [0.25, 0.75]
    drawn = [(batch(5), weight) for batch, weight in batches]
    sources = [blobs(30, seed) for seed in (1, 2)]
    rows = np.arange(30)

    def mean_loss(params: dict[str, torch.Tensor], samples: Samples) -> torch.Tensor:
        logits = torch.func.functional_call(student, params, (samples.inputs.take(rows).double(),))
        return sequence_cross_entropy(logits, samples.for_loss(rows)).mean()

    def objective(shares: torch.Tensor) -> torch.Tensor:
        params = {name: param.detach().clone().requires_grad_() for name, param in student.named_parameters()}
        train = sum(share * mean_loss(params, source) for share, source in zip(shares, sources, strict=True))
        moved = torch.autograd.grad(train, list(params.values()), create_graph=True)
        after = {name: params[name] - rate * step for name, step in zip(params, moved, strict=True)}
        means = [
            sequence_cross_entropy(
                torch.func.functional_call(student, after, (batch.inputs.double(),)), batch.labels
            ).mean()
            for batch, _ in drawn
        ]
        return 0.25 * means[0] + 0.75 * means[1]

    shares = torch.tensor([0.4, 0.6], dtype=torch.float64, requires_grad=True)
    (truth,) = torch.autograd.grad(objective(shares), shares)
    found = influences_of_a_step(student, rate, drawn, sources, shares.detach())
    torch.testing.assert_close(torch.from_numpy(found), truth, rtol=1e-9, atol=1e-12)


def influences_of_a_step(
    student: nn.Linear, rate: float, drawn: list[Any], sources: list[Samples], shares: torch.Tensor
) -> np.ndarray[Any, Any]:
    """As a course finds them: probes are all samples of both sources, and the step is that of plain SGD."""
    optimizer = torch.optim.SGD(student.parameters(), rate)
    inputs = torch.cat([source.inputs.take(np.arange(30)) for source in sources]).double()
    labels = torch.cat([source.for_loss(np.arange(30)) for source in sources])
    before = remember(student, (optimizer,), whole_optimizer=False)
    losses = sequence_cross_entropy(student(inputs), labels)
    (losses * shares.repeat_interleave(30) / 30).sum().backward()
    applied = {name: gradient.clone() for name, gradient in dense_gradient_of(student).items()}
    optimizer.step()
    rows = torch.arange(60)
    batch, weights = Batch(rows, rows, inputs, labels), torch.zeros(60, dtype=torch.float64)
    taken = TakenStep(
        student, (optimizer,), sequence_cross_entropy, sequence_cross_entropy, batch, weights, before, applied
    )
    asked = [Target(MetaBatch(each.inputs.double(), each.labels, len(each.labels)), weight) for each, weight in drawn]
    domains = np.repeat([0, 1], 30)
    found, total = DomainProbe(sequence_cross_entropy, Alone())(taken, asked, domains, shares.numpy())
    _, again = target_gradient(taken, sequence_cross_entropy, asked, Alone())
    assert total == again
    return found.mean


def test_a_mentors_meta_batch_has_as_many_of_each_as_its_weight_says() -> None:
    samples = targets()
    batches = MetaBatches(samples, 16, 0, Alone(), CPU)
    assert samples.domains is not None
    seen = set()
    for update in range(12):
        rows = batches._rows(update)
        assert np.bincount(samples.domains.of[rows]).tolist() == [4, 12]
        seen |= set(rows.tolist())
    assert seen == set(range(60))
    few = joined_targets({"qa": blobs(40, 4), "code": blobs(2, 6)}, WEIGHTS)
    assert few.domains is not None
    rows = MetaBatches(few, 16, 0, Alone(), CPU)._rows(0)
    assert np.bincount(few.domains.of[rows]).tolist() == [4, 12], "two samples, six times each"


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(
    "weights", [WEIGHTS, {"qa": 1.0, "code": 2.0}, {"qa": 1.0, "code": 1e6}, {"qa": 9.0, "code": 1e-3}]
)
def test_its_mean_loss_is_the_weighted_one_at_any_ratio(weights: dict[str, float], ranks: int) -> None:
    """Σ_t w_t · (mean loss of t's rows), also of weights that ask for less than one sample, or for parts."""
    samples = targets(weights)
    assert samples.domains is not None
    own_losses = torch.rand(60, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def part(exchange: AbstractExchange) -> Tensor:
        batches = MetaBatches(samples, 16, 0, exchange, CPU)
        return batches(3).part_of_mean(own_losses[batches._own(batches._rows(3))])

    of = torch.from_numpy(samples.domains.of)
    rows = torch.from_numpy(MetaBatches(samples, 16, 0, Alone(), CPU)._rows(3))
    means = [own_losses[rows[of[rows] == place]].mean() for place in range(2)]
    whole = sum(weights.values())
    expected = sum(weight / whole * mean for weight, mean in zip(weights.values(), means, strict=True))
    assert float(sum(on_ranks(ranks, part))) == pytest.approx(float(expected), rel=1e-12)


def test_weights_that_no_number_can_add_up() -> None:
    assert targets({"qa": 1e308, "code": 1e308}).domains.weights == (0.5, 0.5)  # type: ignore[union-attr]
    assert targets({"qa": 5e-324, "code": 15e-324}).domains.weights == (0.25, 0.75)  # type: ignore[union-attr]
    with pytest.raises(UserError, match="weights are numbers above 0, also beside the largest of them"):
        targets({"qa": 1e308, "code": 1e-300})


def run(storage: Path, name: str, **changes: Any) -> Any:
    arguments = {"meta": TARGETS, "target_weights": WEIGHTS, "method": "uniform", **changes}
    return mixed_trainer(storage, name, **arguments).fit()


def test_a_run_looks_at_both_by_their_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[tuple[int, float]]] = []
    looked_back = course.Course._looked_back

    def spied(self: Any, step: int, *more: Any) -> Any:
        seen.append([(len(each.batch.labels), each.weight) for each in self._target(0)])
        return looked_back(self, step, *more)

    monkeypatch.setattr(course.Course, "_looked_back", spied)
    outcome = run(tmp_path, "both")
    assert {tuple(each) for each in seen} == {((28, 0.25), (14, 0.75))}
    assert outcome.result["mixture"]["shares"]["junk"] < 0.2


def test_other_weights_are_another_run_and_the_same_ones_go_on(tmp_path: Path) -> None:
    run(tmp_path, "one", epochs=2)
    with pytest.raises(UserError, match="trusted samples"):
        run(tmp_path, "one", epochs=2, resume=True, target_weights={"qa": 1.0, "code": 1.0})
    run(tmp_path, "one", epochs=2, resume=True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"target_weights": {"qa": 1.0}}, "target_weights names qa, but the targets are code, qa; give one for each"),
        ({"target_weights": {"qa": 0.0, "code": 1.0}}, "but weights are numbers above 0, also beside the largest of"),
        ({"meta": TARGETS["qa"]}, "target_weights is given, but meta is one target; give several by name"),
        ({"meta": None}, "target_weights is given, but meta is one target"),
        ({"meta": {"qa": TARGETS["qa"], "code": blobs(120, 1)}}, "120 samples of good are in the target meta as well"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        run(tmp_path, "refused", **changes)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mine.csv", {}),
        ("qa=a.csv,code=b.csv", {"qa": ("a.csv", 1.0), "code": ("b.csv", 1.0)}),
        ("qa=a.csv:3,code=s3://x/b.csv", {"qa": ("a.csv", 3.0), "code": ("s3://x/b.csv", 1.0)}),
        ("qa=s3://x/a:0.5,code=c:/b", {"qa": ("s3://x/a", 0.5), "code": ("c:/b", 1.0)}),
    ],
)
def test_targets_of_a_setting(text: str, found: dict[str, tuple[str, float]]) -> None:
    assert DataConfig(meta_data=text).targets == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("qa=a.csv,qa=b.csv", "meta_data names the target 'qa' twice; give each target a name of its own"),
        ("qa=a.csv,code=", "meta_data names the target 'code' without a path; give --meta-data code=PATH"),
        (
            "qa=a.csv:0,code=b.csv",
            "the target 'qa' of meta_data has the weight 0, but a weight is above 0; give it one",
        ),
        ("qa=a.csv:nan,code=b.csv", "the target 'qa' of meta_data has the weight nan"),
        ("qa=a.csv:-1,code=b.csv", "the target 'qa' of meta_data has the weight -1"),
    ],
)
def test_targets_that_are_none(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        DataConfig(meta_data=text)


def written(folder: Path, name: str, samples: Samples) -> str:
    assert isinstance(samples.inputs, FeatureInputs)
    values = samples.inputs.values[:]
    rows = [",".join([*map(str, row), CLASSES[label]]) for row, label in zip(values, samples.labels, strict=True)]
    (folder / name).write_text("\n".join([",".join([*"pqrstuvw", "label"]), *rows]))
    return str(folder / name)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = {"good": blobs(120, 1), "junk": blobs(130, 2, junk=True)}
    words = [word for name, each in sources.items()
             for word in ("--data", f"{name}={written(tmp_path, f'{name}.csv', each)}")]  # fmt: skip
    asked = [
        f"qa={written(tmp_path, 'qa.csv', TARGETS['qa'])}",
        f"code={written(tmp_path, 'code.csv', TARGETS['code'])}:3",
    ]
    words += [word for each in asked for word in ("--meta-data", each)]
    where = ["--workers", "0", "--storage-path", str(tmp_path / "runs"), "--run-name", "two", "--epochs", "4"]
    assert main(["train", *words, *where, "--batch-size", "20", "--shares-interval", "2"]) == 0
    assert "targets: qa (weight 0.25, 40 samples), code (weight 0.75, 20 samples)" in capsys.readouterr().out
    result = json.loads((tmp_path / "runs/two/result.json").read_text())
    assert set(result["targets"]) == {"qa", "code"}
    assert result["targets"]["code"]["weight"] == 0.75
    right = sum(each["accuracy"] * each["held_out"] for each in result["targets"].values())
    assert right / result["trusted_held_out"] == pytest.approx(result["trusted_accuracy"])
    assert main(["train", "--config", f"{tmp_path}/runs/two/config.toml", "--resume"]) == 0
    assert main(["train", *words, "--meta-data", "more.csv", *where]) == 2
    assert "--meta-data is given 3 times, and 'more.csv' has no name; name each target" in capsys.readouterr().err
