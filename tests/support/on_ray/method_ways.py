"""Every method, loss, mixing and gradient rule of the tables, as runs have them, step by step and without a run."""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ray.train.torch
import torch
from small_runs import MENTOR, make_small_splits, trainer_for
from torch import Tensor, nn

from ray_mentor.config import MIXINGS, CurriculumConfig, MentorConfig
from ray_mentor.config.groups.curriculum import REWEIGHTS
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import AbstractExchange, Alone
from ray_mentor.core.losses import ROBUST
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.mentor.mentor_file import mentor_bytes
from ray_mentor.core.mentor.rule import Rule
from ray_mentor.core.methods.table import METHODS
from ray_mentor.core.step.gradient_rules import GRADIENT_RULES
from ray_mentor.core.step.record import StepRecord
from ray_mentor.core.student.optimizers import make_schedule
from ray_mentor.data import Samples, Splits
from ray_mentor.data.plan.batches import Plan
from ray_mentor.data.samples.sources.domains import Domains
from ray_mentor.on_ray.train import assemble as assembling
from ray_mentor.on_ray.train.trainer import CurriculumTrainer
from ray_mentor.run.accuracy import measured, own_parts
from ray_mentor.run.batch_of import batch_of
from ray_mentor.run.meta_set.trusted import parts_of, trusted_beside

EPOCHS, BATCH = 2, 38
EPOCH_STEPS, STEPS = 4, 8  # 150 samples
HALVES = ("uniform", "mentornet")
"""What losses, mixings and rules are tried under: all samples alike, and a mentor that learns."""

Way = dict[str, Any]
"""Settings of a curriculum."""


def ways() -> dict[str, Way]:
    """By name. A new line of a table is there by itself."""
    found: dict[str, Way] = {method: {"method": method} for method in METHODS}
    for method in HALVES:
        found |= {f"{method} on {loss}": {"method": method, "loss": loss} for loss in ROBUST}
        found |= {f"{method} mixed by {mixing}": {"method": method, "mixing": mixing} for mixing in MIXINGS}
        found |= {f"{method} under {rule}": {"method": method, "gradient_rule": rule} for rule in GRADIENT_RULES}
        found |= {f"{method} reweighted, {how}": {"method": method, "reweight": how} for how in REWEIGHTS[1:]}
        found[f"{method} without trusted samples"] = {"method": method, "meta_from": "pseudo-clean"}
    return found


def pairs_of_settings() -> dict[str, Way]:
    """Each of the other methods with each loss, mixing and rule, whether that makes sense or not."""
    beside = {"loss": ROBUST, "mixing": MIXINGS, "gradient_rule": GRADIENT_RULES}
    return {
        f"{method}, {name} {value}": {"method": method, name: value}
        for method in METHODS
        if method not in HALVES
        for name, values in beside.items()
        for value in values
        if value != "none"
    }


def with_groups(splits: Splits) -> Splits:
    """Every fifth sample is of another group."""

    def grouped(samples: Samples) -> Samples:
        return dataclasses.replace(samples, groups=Domains(("most", "few"), (np.arange(len(samples)) % 5 == 0) * 1))

    return dataclasses.replace(splits, train=grouped(splits.train), meta=grouped(splits.meta))


class Ways:
    """Makes trainers and their curricula; nothing is written.

    Args:
        folder: for the files of a mentor and a rule, which a method may take.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.splits: Splits = make_small_splits()
        self._mentor_file = folder / "mentor.npz"
        state = MentorLearner(MENTOR, 3, 0).state()
        self._mentor_file.write_bytes(mentor_bytes(state, MENTOR, 3, in_nats=True))

        rule = Rule("loss_difference", np.array([-1.0, 2.0]), np.array([[0.9, 0.2], [0.9, 0.1]]), np.array([0.0, 1.0]))
        self._rule_file = folder / "rule.json"
        self._rule_file.write_text(rule.text())

    def schedule(self, way: Way) -> Way:
        """With the file that a rule is in."""
        return {**way, "method": f"rule:{self._rule_file}"} if way["method"] == "rule" else way

    def mentor(self, way: Way) -> MentorConfig:
        """With what a method asks for."""
        needs = {"mentor_from": str(self._mentor_file)} if way["method"] == "mentornet-frozen" else {}
        return dataclasses.replace(MENTOR, **needs)

    def trainer(self, way: Way) -> CurriculumTrainer:
        """Raises a UserError where the settings make no sense."""
        schedule = {"burn_in": 0.2, "forget_epochs": 1.0, **self.schedule(way)}
        without = {"meta": None} if way.get("meta_from") else {}
        return trainer_for(
            with_groups(self.splits) if METHODS[way["method"]].needs_groups else self.splits,
            self._folder,
            "never-run",
            epochs=EPOCHS,
            batch_size=BATCH,
            mentor=self.mentor(way),
            curriculum=CurriculumConfig(**schedule),
            **without,
        )


class Steps:
    """A run's curriculum on this rank, and its steps.

    Args:
        wrapped: what is made of the student before anything holds it.
    """

    def __init__(
        self,
        trainer: CurriculumTrainer,
        exchange: AbstractExchange | None = None,
        wrapped: Callable[[nn.Module], nn.Module] = lambda student: student,
    ) -> None:
        self.exchange = exchange or Alone()
        job, self._splits = trainer._job, trainer.splits
        run = job.run
        self._plan = Plan(job.order, run.batch_size, run.seed, run.epochs)
        self._meta = parts_of(self._splits.meta, job)
        makes = assembling.make_student
        device, ray.train.torch.get_device = ray.train.torch.get_device, lambda: torch.device("cpu")
        assembling.make_student = lambda *given: wrapped(makes(*given))
        try:
            self.curriculum: Curriculum = assembling.assemble(
                job, self._splits, self._meta, self.exchange, self._plan.total_steps
            )
        finally:
            assembling.make_student = makes
            ray.train.torch.get_device = device
        self.schedule = make_schedule(self.curriculum.optimizer, "cosine", self._plan.total_steps)

    def __call__(self, until: int = STEPS) -> Iterator[StepRecord]:
        """Those up to step ``until``, from where the curriculum is, with what comes at the end of an epoch."""
        first, given = self.curriculum.step_number, (self._plan.seed, 0)
        with trusted_beside(self._meta, self._plan, first, self.exchange) as with_trusted:
            for epoch, rows, ends in self._plan.steps(first):
                step = self.curriculum.step_number
                if step == until:
                    return
                batch = batch_of(self._splits.train, rows, self.exchange, (*given, step))
                torch.manual_seed(self.curriculum.generator("student", self.exchange.rank).initial_seed())
                yield self.curriculum.step(with_trusted(batch, step))
                self.schedule.step()
                if ends:
                    self._end(epoch)

    def _end(self, epoch: int) -> None:
        found = measured(self.curriculum, self._splits, self._meta.held_out, self.exchange)
        trusted = functools.partial(own_parts, self._meta.learnt, "trusted", self.curriculum, self.exchange)
        self.curriculum.end_epoch(epoch + 1, trusted, found.errors)

    def params(self) -> Tensor:
        """All of the student's, in a row; copies."""
        return torch.cat([param.detach().flatten() for param in self.curriculum.bare.parameters()])

    def mentor(self) -> Tensor:
        """Likewise of the mentor that learns; none where there is none."""
        access = self.curriculum.parts.mentor
        if access is None:
            return torch.zeros(0)
        payload = torch.load(io.BytesIO(access.state.payload), weights_only=True)
        return torch.cat([value.flatten() for value in payload["mentor"].values()])


def same_on_ranks(name: str, way: Way) -> bool:
    """Whether two ranks do what one does: each draws partners of its own for what is mixed, and two students' samples
    are drawn likewise (test_pairs_on_ranks.py has what they share)."""
    return METHODS[way["method"]].students == 1 and way.get("mixing") in (None, "none")


def on_ranks(folder: Path, exchange: AbstractExchange, wrapped: Callable[[nn.Module], nn.Module]) -> dict[str, Any]:
    """Each way whose ranks share what they draw, to its end."""
    made, found = Ways(folder), {}
    for name, way in ways().items():
        if same_on_ranks(name, way):
            steps = Steps(made.trainer({"mixing": "none", **way}), exchange, wrapped)
            weights = [record.sample_weights for record in steps()]
            found[name] = {"params": steps.params(), "mentor": steps.mentor(), "sample weights": weights}
    return found
