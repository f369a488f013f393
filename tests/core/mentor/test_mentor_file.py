"""A mentor that another run begins with: the same scores, and nothing else is believed or executed."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import batch_of

from ray_mentor import CurriculumConfig, LearnedCurriculum, MentorConfig, UserError
from ray_mentor.core.losses import PerSampleLoss, cross_entropy
from ray_mentor.core.mentor.learner import MentorLearner, MetaUpdate
from ray_mentor.core.mentor.mentor_file import MENTOR_FILE, begun_as, frozen_from, mentor_bytes
from ray_mentor.core.mentor.start import check_frozen
from ray_mentor.core.methods.table import method_of
from ray_mentor.core.step.features import Features

CLASSES = 3
KINDS = {
    "mlp": MentorConfig(update_interval=1, mentor_hidden=(8,)),
    "mlp that sees all": MentorConfig(
        update_interval=1, mentor_features=("loss", "label", "progress", "history"), history_length=2
    ),
    "mentornet": MentorConfig(update_interval=1, mentor="mentornet"),
    "mentornet that sees the label": MentorConfig(
        update_interval=1, mentor="mentornet", mentor_features=("loss", "loss_difference", "label")
    ),
    "cmw": MentorConfig(update_interval=1, mentor="cmw"),
    "lstm": MentorConfig(update_interval=1, mentor="lstm", history_length=3),
}


def features(config: MentorConfig, n: int = 8) -> Features:
    draw = torch.Generator().manual_seed(0)
    loss = 3 * torch.rand(n, generator=draw)
    return Features(
        loss, loss - 1, torch.arange(n) % CLASSES, torch.full((n,), 0.4), torch.rand(n, config.history_length)
    )


def learnt(config: MentorConfig) -> MentorLearner:
    learner = MentorLearner(config, CLASSES, seed=3)
    seen = features(config)
    for step in range(5):
        learner.learn(MetaUpdate(step, seen, torch.linspace(-1, 1, len(seen)), torch.ones(len(seen)).bool()))
    return learner


def written(folder: Path, config: MentorConfig, *, in_nats: bool = True) -> MentorLearner:
    learner = learnt(config)
    (folder / MENTOR_FILE).write_bytes(mentor_bytes(learner.state(), config, CLASSES, in_nats=in_nats))
    return learner


@pytest.mark.parametrize("as_folder", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_it_scores_as_the_other_did_and_begins_anew(kind: str, as_folder: bool, tmp_path: Path) -> None:
    config = KINDS[kind]
    before, seen = written(tmp_path, config), features(config)
    path = str(tmp_path if as_folder else tmp_path / MENTOR_FILE)
    found = begun_as(path, config, CLASSES, 9, in_nats=True)
    assert torch.equal(found.score(seen), before.score(seen))
    assert not torch.equal(found.score(seen), MentorLearner(config, CLASSES, 9).score(seen)), "it had learnt something"
    assert (found.version, found.update_id, found.skipped) == (0, -1, 0)
    frozen = frozen_from(path).network
    assert torch.equal(frozen.sample_weights(seen), before.score(seen))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mentor_hidden": (9,)}, r"has mentor_hidden \[8\], but the one that is to begin so has \[9\]"),
        ({"mentor_features": ("loss",)}, r"has mentor_features \['loss', 'loss_difference'\], but"),
        ({"mentor": "mentornet"}, "has mentor 'mlp', but the one that is to begin so has 'mentornet'"),
        ({"mentor_features": ("loss", "loss_difference", "label")}, "has classes None, but"),
    ],
)
def test_one_that_is_made_otherwise(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    written(tmp_path, KINDS["mlp"])
    with pytest.raises(UserError, match=said):
        begun_as(str(tmp_path), MentorConfig(**{"mentor_hidden": (8,), **changes}), CLASSES, 0, in_nats=True)


def test_other_units_and_other_classes(tmp_path: Path) -> None:
    written(tmp_path, KINDS["mlp"])
    with pytest.raises(UserError, match="has losses 'in nats', but the one that is to begin so has 'in units of their"):
        begun_as(str(tmp_path), KINDS["mlp"], CLASSES, 0, in_nats=False)
    config = KINDS["mlp that sees all"]
    written(tmp_path, config)
    with pytest.raises(UserError, match="has classes 3, but the one that is to begin so has 4"):
        begun_as(str(tmp_path), config, 4, 0, in_nats=True)


class Planted:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('executed')",)


@pytest.mark.parametrize("content", [b"", b"PK", pickle.dumps(Planted()), b"[" * 10_000])
def test_a_file_that_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / MENTOR_FILE).write_bytes(content)
    for read in (lambda: begun_as(str(tmp_path), KINDS["mlp"], 3, 0, in_nats=True), lambda: frozen_from(str(tmp_path))):
        with pytest.raises(UserError, match=r"mentor\.npz is no mentor file"):
            read()


@pytest.mark.parametrize(
    "changes",
    [
        {"about": np.array("[" * 10_000)},
        {"about": np.array("3")},
        {"about": np.array('{"mentor": "mlp", "mentor_hidden": 3}')},
        {"param.logit_offset": np.array([np.nan], np.float32)},
        {"param.logit_offset": np.array([1], np.int64)},
        {"param.logit_offset": np.array([Planted()], object)},
        {"param.logit_offset": np.zeros((2, 2), np.float32)},
        {"param.more": np.zeros(1, np.float32)},
    ],
)
def test_a_file_with_other_content(changes: dict[str, Any], tmp_path: Path) -> None:
    written(tmp_path, KINDS["mlp"])
    with np.load(tmp_path / MENTOR_FILE) as there:
        content = {name: there[name] for name in there.files}
    np.savez(tmp_path / MENTOR_FILE, **{**content, **changes})
    with pytest.raises(UserError):
        begun_as(str(tmp_path), KINDS["mlp"], CLASSES, 0, in_nats=True)
    with pytest.raises(UserError):
        frozen_from(str(tmp_path))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no file .*mentor\.npz; give the folder of a finished run"):
        begun_as(str(tmp_path), KINDS["mlp"], CLASSES, 0, in_nats=True)
    with pytest.raises(UserError, match="method is 'mentornet-frozen', which takes another run's mentor; give"):
        method_of("mentornet-frozen").weighting(CurriculumConfig(), MentorConfig(), None)


def test_a_loop_of_ones_own_begins_so(tmp_path: Path) -> None:
    config = MentorConfig(mentor_hidden=(8,), mentor_from=str(tmp_path))
    before = written(tmp_path, KINDS["mlp"])
    student, batch = torch.nn.Linear(4, 3), batch_of(6)
    curriculum = LearnedCurriculum(
        student,
        torch.optim.SGD(student.parameters(), 0.1),
        (batch.inputs, batch.labels),
        total_steps=10,
        mentor=config,
        curriculum=CurriculumConfig(burn_in=0.0),
    )
    assert curriculum.mentor is not None
    assert torch.equal(curriculum.mentor.score(features(config)), before.score(features(config)))


def ten_times_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return 10 * torch.nn.functional.cross_entropy(logits, labels, reduction="none")


def scored(method: str, folder: Path, loss: PerSampleLoss | None, **changes: Any) -> torch.Tensor:
    """What a mentor that begins so says of each sample of the first steps, before it has learnt anything."""
    config = MentorConfig(mentor_hidden=(8,), mentor_from=str(folder), update_interval=100, **changes)
    torch.manual_seed(0)
    student, meta = torch.nn.Linear(4, 3), batch_of(6)
    optimizer = torch.optim.SGD(student.parameters(), 0.1)
    curriculum = LearnedCurriculum(
        student,
        optimizer,
        (meta.inputs, meta.labels),
        total_steps=200,
        mentor=config,
        curriculum=CurriculumConfig(method, burn_in=0.1),
        loss=loss,
        n_classes=CLASSES,
        n_samples=100,
    )
    said = []
    for step in range(3):
        batch = batch_of(130, seed=step)
        losses = (loss or cross_entropy)(student(batch.inputs), batch.labels)
        optimizer.zero_grad()
        curriculum.weigh(losses, labels=batch.labels, sample_ids=torch.arange(len(losses)) % 100).backward()
        optimizer.step()
        said.append(curriculum.after_step().scored)
    return torch.cat(said)


@pytest.mark.parametrize("loss", [None, ten_times_cross_entropy])
def test_a_frozen_mentor_says_what_the_learning_one_did_to_the_bit(loss: PerSampleLoss | None, tmp_path: Path) -> None:
    """Of an own loss in the units that it learned in, too, and whatever the number of threads."""
    written(tmp_path, KINDS["mlp"], in_nats=loss is None)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        learning, frozen = (scored(method, tmp_path, loss) for method in ("mentornet", "mentornet-frozen"))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(frozen, learning)
    assert float(frozen.std()) > 0.005


def test_a_frozen_mentor_that_would_not_know_what_it_sees(tmp_path: Path) -> None:
    written(tmp_path, KINDS["mlp"], in_nats=False)
    with pytest.raises(UserError, match="has losses 'in units of their own', but this run has 'in nats', so that it"):
        scored("mentornet-frozen", tmp_path, None)
    written(tmp_path, KINDS["lstm"])
    with pytest.raises(UserError, match="has history_length 3, but this run has 0"):
        scored("mentornet-frozen", tmp_path, None)
    config = dataclasses.replace(KINDS["cmw"], mentor_from=str(tmp_path))
    written(tmp_path, KINDS["cmw"])
    check_frozen(CurriculumConfig("mentornet-frozen"), config, CLASSES, in_nats=True)
    with pytest.raises(UserError, match="has classes 3, but this run has 4"):
        check_frozen(CurriculumConfig("mentornet-frozen"), config, 4, in_nats=True)
