"""What a mentor knows by given and predicted class: by hand, in its weights, in its state, and in no other's file."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import batch_of, curriculum_of, student_of
from torch import Tensor

from ray_mentor import CurriculumConfig, MentorConfig, UserError
from ray_mentor.core.exchange import Alone
from ray_mentor.core.mentor.learner import MentorLearner, MetaUpdate
from ray_mentor.core.mentor.mentor_file import MENTOR_FILE, begun_as, frozen_from, mentor_bytes
from ray_mentor.core.mentor.networks.evidence import MOST_CLASSES, ClassEvidence, weight_of
from ray_mentor.core.mentor.start import made_for
from ray_mentor.core.mentor.trial import mentor_of
from ray_mentor.core.plain_load import load_plain
from ray_mentor.core.step.features import Features
from ray_mentor.core.step.observation import again_observed
from ray_mentor.core.step.units import Units

C, N = 4, 60
STILL = MentorConfig(mentor_learning_rate=1e-12, mentor_hidden=(3,), anchor=0.0, update_interval=1)
"""A mentor whose network hardly moves: what changes is the evidence."""


def rows(label: Tensor, predicted: Tensor | None = None, trusted: Tensor | None = None) -> Features:
    zero = torch.zeros(len(label))
    return Features(zero, zero, label, zero, torch.zeros(len(label), 0), trusted, predicted)


def drawn(seed: int, classes: int = C) -> tuple[Features, Tensor]:
    """Samples of all kinds: without a class or a prediction, or of one that there is not, trusted, not looked at."""
    draw = torch.Generator().manual_seed(seed)
    label = torch.randint(-1, classes + 1, (N,), generator=draw)
    predicted = torch.randint(-1, classes + 1, (N,), generator=draw)
    influence = torch.randn(N, generator=draw)
    influence[torch.rand(N, generator=draw) < 0.2] = torch.nan
    return rows(label, predicted, torch.rand(N, generator=draw) < 0.2), influence


def by_hand(updates: list[tuple[Features, Tensor]], asked: Features, classes: int, weight: float) -> np.ndarray:
    """The formula, sample by sample, in float64 and with tables of any key."""
    sums: dict[tuple[int, int], float] = {}
    counts: dict[tuple[int, int], float] = {}

    def cell(given: int, predicted: int) -> tuple[int, int] | None:
        if not (0 <= given < classes and 0 <= predicted < classes):
            return None
        return given, predicted if classes <= MOST_CLASSES else int(given == predicted)

    for features, influence in updates:
        for table in (sums, counts):
            for key in table:
                table[key] *= 0.97
        table_of = zip(
            features.label.tolist(), features.predicted.tolist(), features.trusted.tolist(), influence.tolist(),
            strict=True,
        )  # fmt: skip
        taken = [(cell(y, p), s) for y, p, is_trusted, s in table_of if not is_trusted and np.isfinite(s)]
        taken = [(key, s) for key, s in taken if key is not None]
        size = np.mean([abs(s) for _, s in taken])
        for key, s in taken:
            assert key is not None
            sums[key] = sums.get(key, 0.0) + s / size
            counts[key] = counts.get(key, 0.0) + 1.0
    mean = sum(sums.values()) / sum(counts.values())
    keys = [cell(y, p) for y, p in zip(asked.label.tolist(), asked.predicted.tolist(), strict=True)]
    return np.array(
        [
            0.0 if key not in counts else -weight * (sums[key] - mean * counts[key]) / (counts[key] + 10.0)  # type: ignore[index]
            for key in keys
        ]
    )


@pytest.mark.parametrize("classes", [2, C, MOST_CLASSES, MOST_CLASSES + 1])
@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_by_hand(classes: int, weight: float) -> None:
    updates = [drawn(seed, classes) for seed in range(4)]
    evidence = ClassEvidence(classes, weight)
    for features, influence in updates:
        evidence.take_in(features, influence)
    asked = updates[-1][0]
    expected = by_hand(updates, asked, classes, weight)
    np.testing.assert_allclose(evidence(asked).numpy(), expected, atol=1e-6)
    assert np.abs(expected).max() > 0.05


def test_what_it_weighs_where_nothing_is_given() -> None:
    assert weight_of(None) == 1.0
    assert weight_of(None, "pseudo-clean") == 0.0
    assert weight_of(0.5, "pseudo-clean") == weight_of(0.5) == 0.5
    for meta_from, expected in (("trusted", 1.0), ("pseudo-clean", 0.0)):
        for method in ("mentornet", "mentornet-refined"):
            made = made_for(CurriculumConfig(method=method, meta_from=meta_from), MentorConfig())  # type: ignore[arg-type]
            assert made.class_evidence == expected
    assert MentorLearner(MentorConfig(), C, seed=0).network.evidence is not None


def test_before_its_first_update_and_without_predictions_it_says_nothing() -> None:
    features, influence = drawn(0)
    evidence = ClassEvidence(C, 1.0)
    assert not evidence(features).any()
    evidence.take_in(rows(features.label), influence)
    assert not evidence.counts.any()
    evidence.take_in(features, torch.full((N,), torch.nan))
    assert not evidence(features).any()


def learner_of(config: MentorConfig, classes: int = C) -> MentorLearner:
    return MentorLearner(config, classes, seed=0)


def taught(config: MentorConfig, updates: int = 30) -> MentorLearner:
    """Samples of class 1 that are taken for class 2 do harm; all others help."""
    learner = learner_of(config)
    for step in range(updates):
        label, predicted = torch.arange(N) % C, torch.arange(N) // C % C
        harms = (label == 1) & (predicted == 2)
        keep = torch.ones(N, dtype=torch.bool)
        learner.learn(MetaUpdate(step, rows(label, predicted), torch.where(harms, 1.0, -0.2), keep))
    return learner


def test_a_pair_that_does_harm_weighs_less_and_the_network_has_not_moved() -> None:
    harmful, others = rows(torch.tensor([1]), torch.tensor([2])), rows(torch.tensor([2, 1]), torch.tensor([1, 1]))
    learner = taught(STILL)
    assert learner.score(harmful) < learner.score(others).min() - 0.1
    assert float(learner.score(rows(torch.tensor([1])))) == pytest.approx(0.9)
    none = taught(MentorConfig(**{**vars(STILL), "class_evidence": 0.0}))
    assert float(none.score(harmful)) == pytest.approx(0.9)
    assert none.network.evidence is None


def test_the_network_learns_what_the_evidence_leaves() -> None:
    """In the objective weights are those with the evidence in them: its slope is that of the whole logit."""
    learner = taught(STILL)
    features, influence = drawn(3)
    keep = torch.ones(N, dtype=torch.bool)
    w = learner.network.sample_weights(features).detach()
    assert (w[~features.trusted] - 0.9).abs().max() > 0.01
    objective = learner.objective(MetaUpdate(99, features, influence, keep)).detach()
    known = influence.isfinite()
    scaled = torch.where(known, influence, 0.0) / influence[known].abs().mean()
    p = w[~features.trusted] / w[~features.trusted].sum()
    expected = N / known.sum() * (scaled * w / w.sum()).sum() + 0.35 * (p * (len(p) * p).log()).sum()
    assert float(objective) == pytest.approx(float(expected), rel=1e-5)


def test_an_update_that_is_skipped_leaves_it_as_it_was() -> None:
    learner = taught(STILL)
    before = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
    features, influence = drawn(5)
    influence[0] = torch.inf
    learner.learn(MetaUpdate(99, features, influence, torch.ones(N, dtype=torch.bool)))
    assert learner.skipped == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.network.state_dict().items())


def test_its_state_goes_on_and_a_file_knows_nothing_of_these_classes(tmp_path: Path) -> None:
    learner, asked = taught(MentorConfig(update_interval=1, mentor_hidden=(3,))), drawn(7)[0]
    other = learner_of(learner.made_with[0])
    other.load(learner.state())
    assert torch.equal(other.score(asked), learner.score(asked))
    (tmp_path / MENTOR_FILE).write_bytes(mentor_bytes(learner.state(), learner.made_with[0], C, in_nats=True))
    with np.load(tmp_path / MENTOR_FILE) as file:
        assert not any("evidence" in name for name in file.files)
    unsaid = rows(asked.label, None, asked.trusted)
    for classes in (C, C + 3):
        begun = begun_as(str(tmp_path), learner.made_with[0], classes, 1, in_nats=True)
        assert torch.equal(begun.score(asked), learner.score(unsaid))
    assert torch.equal(frozen_from(str(tmp_path)).score(asked), learner.score(unsaid))
    assert not torch.equal(learner.score(asked), learner.score(unsaid))


@pytest.mark.parametrize(
    ("name", "value"), [("counts", -10.0), ("counts", -9.99), ("sums", 3e38), ("sums", 9e3), ("sums", -9e3)]
)
def test_a_state_that_no_influences_give_is_refused(name: str, value: float) -> None:
    """Taken up, it would turn all weights to 1, or to NaN, without a word."""
    learner = taught(STILL)
    state, made_with = learner.state(), learner.made_with
    assert torch.equal(mentor_of(state, *made_with).score(drawn(7)[0]), learner.score(drawn(7)[0]))
    payload = load_plain(state.payload)
    payload["mentor"][f"evidence.{name}"][2, 3] = value
    written = io.BytesIO()
    torch.save(payload, written)
    with pytest.raises(UserError, match="what it knows of classes is nothing that influences can say"):
        mentor_of(dataclasses.replace(state, payload=written.getvalue()), *made_with)


EVERYONE = torch.ones(N, dtype=torch.bool)


def test_an_update_learns_by_what_was_known_before_it_and_anchors_by_what_is_known_after_it() -> None:
    config = MentorConfig(update_interval=1, mentor_hidden=(3,))
    with_it, without = learner_of(config), learner_of(dataclasses.replace(config, class_evidence=0.0))
    features, influence = rows(torch.arange(N) % C, torch.arange(N) // C % C), drawn(3)[1]
    for learner in (with_it, without):
        learner.learn(MetaUpdate(0, features, influence, EVERYONE))
    for mine, others in zip(with_it.network.parameters(), without.network.parameters(), strict=True):
        assert torch.equal(mine, others)
    weights = with_it.score(features)
    assert weights.std() > 0.005
    assert float(torch.quantile(weights.logit(), 0.75).sigmoid()) == pytest.approx(0.9, abs=1e-5)


def test_a_step_that_is_not_finite_takes_the_evidence_back_too() -> None:
    learner = taught(STILL)
    before = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
    features, influence = drawn(5)
    broken = dataclasses.replace(features, loss=torch.full((N,), torch.nan))
    learner.learn(MetaUpdate(99, broken, influence, EVERYONE))
    assert learner.skipped == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.network.state_dict().items())


def test_what_example_dropout_left_out_counts_and_influences_of_0_do_not() -> None:
    learner, (features, influence) = learner_of(STILL), drawn(5)
    learner.learn(MetaUpdate(0, features, influence, ~EVERYONE))
    evidence = learner.network.evidence
    assert evidence is not None
    counts = evidence.counts.clone()
    assert counts.sum() > 10
    learner.learn(MetaUpdate(1, features, torch.zeros(N), EVERYONE))
    assert torch.equal(evidence.counts, counts)


def test_another_ones_evidence_is_not_taken_with_its_params() -> None:
    learner = learner_of(STILL)
    learner.begin_as(taught(STILL).network.state_dict())
    assert learner.network.evidence is not None
    assert not learner.network.evidence.counts.any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_counts_are_float32_and_logits_as_the_network_has_them(dtype: torch.dtype) -> None:
    """A count in bfloat16 would stop at 256."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        network, features = learner_of(STILL).network, rows(torch.arange(N) % C, torch.arange(N) // C % C)
    finally:
        torch.set_default_dtype(before)
    assert network.evidence is not None
    assert network.evidence.counts.dtype == torch.float32
    assert network.logits(features).dtype == dtype


def test_a_step_sees_the_class_that_the_student_said_before_it() -> None:
    student = student_of()
    curriculum = curriculum_of(student)
    batch = batch_of(8)
    with torch.no_grad():
        expected = student(batch.inputs).argmax(dim=1)
    seen = curriculum.observe(batch)
    assert torch.equal(seen.features.predicted, expected)
    arrived = Features.from_matrix(seen.features.matrix())
    assert torch.equal(arrived.predicted, expected)
    assert torch.equal(curriculum.observe_losses(batch, torch.ones(8)).features.predicted, torch.full((8,), -1))
    assert torch.equal(Units(2.0, 3.0).of(seen.features).predicted, expected)
    again = again_observed(seen, torch.ones(8), Alone(), curriculum.percentile)
    assert torch.equal(again.features.predicted, expected)
    assert torch.equal(curriculum._looked(batch).seen.features.predicted, expected)
