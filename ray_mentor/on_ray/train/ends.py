"""What a run leaves in its folder when it ends, well or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from torch import nn

from ray_mentor.config import TrainConfig
from ray_mentor.core.mentor.learner import MentorState
from ray_mentor.core.mentor.mentor_file import MENTOR_FILE, mentor_bytes
from ray_mentor.core.methods.parts import that_find_out
from ray_mentor.core.methods.table import is_in_nats, method_of, named_loss_of
from ray_mentor.core.methods.weightings import Taught
from ray_mentor.data.plan.batches import Plan
from ray_mentor.data.python.unscaled import note_on_scale
from ray_mentor.data.samples.texts.plain import BYTES as N_BYTES
from ray_mentor.data.splits.splits import Splits
from ray_mentor.errors import UserError
from ray_mentor.report.run.gallery.source import read_texts, texts_in
from ray_mentor.report.run.written import report_at_end
from ray_mentor.run.advice import by_size_of
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.audit.files import BEGINNING
from ray_mentor.run.checkpoint.checkpoints import newest_good
from ray_mentor.run.checkpoint.kept import kept_student
from ray_mentor.run.checkpoint.state import RunState
from ray_mentor.run.claim import ClaimedDirectory
from ray_mentor.run.findings.closing import closed
from ray_mentor.run.findings.group_figures import group_figures
from ray_mentor.run.findings.one_answer import one_answer
from ray_mentor.run.findings.targets import target_figures
from ray_mentor.run.job import Job
from ray_mentor.run.ledger.detection import detection
from ray_mentor.run.marks import Marks
from ray_mentor.run.meta_set.trusted import parts_of
from ray_mentor.run.outcome import Outcome, result_of
from ray_mentor.run.trained.about import About, build_of, code_of
from ray_mentor.run.trained.fed import BYTES, Input
from ray_mentor.run.trained.written import student_at_end, student_so_far


@dataclass(frozen=True)
class Ends:
    """Of one run.

    Attributes:
        job: as its workers had it.
        config: the settings as they were given.
        splits: the data.
        fed: what the student is fed.
        build: builds the student as the user gave it.
        directory: the run's folder, as the process has it that took the run up.
        files: the file system that it is a folder of, where the user gave one.
    """

    job: Job
    config: TrainConfig
    splits: Splits
    fed: Input
    build: Callable[[], nn.Module]
    directory: ClaimedDirectory
    files: Any

    def well(self, marks: Marks) -> Outcome:
        """Writes the result of a run that came to its end, last of all but its page.

        Raises:
            UserError: the state that the workers left is not that of its end.
        """
        state, method, epochs = self._final_state(), method_of(self.config.curriculum.method), self.job.run.epochs
        wrong = detection(self.directory, epochs - 1, by_loss=method.says_same)
        own_loss = self.job.loss is not None
        held_out = parts_of(self.splits.meta, self.job).held_out
        constant = one_answer(self.directory, self.splits.train.classes, held_out, state.kept)
        result = result_of(self.config, self.splits.train, state, marks, wrong, own_loss=own_loss, constant=constant)
        result |= target_figures(self.splits.meta, held_out, state.kept)
        result |= group_figures(self.directory, self.splits, held_out, state.kept)
        result["notes"] += filter(None, [note_on_scale(self.splits.train.inputs, self.splits.features)])
        mentor = self._last_mentor(state)
        if mentor is not None:
            self.directory.write(MENTOR_FILE, self._mentor_bytes(mentor))
        about = self._about(finished=True)
        if (said := student_at_end(self.directory, about, state, self.build, self.splits)) is not None:
            marks.show({"kind": "note", "text": said})
        by_size = None if own_loss else by_size_of(self.config.curriculum)
        result, audit = closed(self.directory, result, epochs, self._texts, by_size=by_size)
        self.write_page(marks, audit=audit)
        self.directory.release()
        student = kept_student(state.kept, state.student)
        return Outcome(result, state.log.metrics, self.directory.path, student, self.files, self.build)

    def _texts(self, audited: pa.Table) -> list[str] | None:
        """The beginning of each training sample, where they are texts."""
        return read_texts(texts_in(self.splits.train, audited), np.arange(len(audited)), BEGINNING)

    def write_page(self, marks: Marks, ended: str | None = None, audit: Audit | None = None) -> None:
        """Writes the run's page; those of a sweep's or a comparison's runs are made when they are asked for.

        Args:
            ended: what a run that has no result ended with.
        """
        if self.job.gate is not None:
            return
        about = self._about(finished=False)
        if ended is not None and (said := student_so_far(self.directory, about, self.build, self.splits)) is not None:
            marks.show({"kind": "note", "text": said})
        said = report_at_end(self.directory, self.splits.train, ended=ended, audit=audit)
        if said is not None:
            marks.show({"kind": "note", "text": said})

    def _about(self, *, finished: bool) -> About:
        """How the trained student is built, and what it is fed."""
        students, run = method_of(self.config.curriculum.method).students, self.job.run
        classes = self.splits.train.classes if self.fed.kind != BYTES else tuple(map(str, range(N_BYTES)))
        made_of = str(run.run_name), build_of(self.build), classes, self.fed, students, run.epochs
        return About(*made_of, finished, code=code_of(self.build))

    def _final_state(self) -> RunState:
        """What the workers left in the end; Ray's own result knows nothing of it."""
        notes: list[str] = []
        found = newest_good(self.directory, notes.append)
        if found is None:
            raise UserError(
                f"the workers left no checkpoint in {self.directory.path} that this process can see; give a "
                "--storage-path that all nodes share"
            )
        run = self.job.run
        if found.state.curriculum.step < Plan(self.job.order, run.batch_size, run.seed, run.epochs).total_steps:
            why = next(iter(notes), f"the newest checkpoint that this process sees is {found.path}")
            raise UserError(f"{why}; the end of the run is lost: go on with --resume")
        return found.state

    def _last_mentor(self, state: RunState) -> MentorState | None:
        """One that learned, or was taught; None where there is none."""
        method = method_of(self.config.curriculum.method)
        if method.learns:
            return state.curriculum.mentor
        weighting = method.weighting(self.config.curriculum, self.job.mentor, None)
        if not isinstance(weighting, Taught):
            return None
        loss = self.job.loss or named_loss_of(self.config.curriculum)
        place = that_find_out(loss, weighting).index(weighting)
        weighting.state = state.curriculum.at_epoch[place]
        return None if weighting.frozen is None else weighting.frozen.state()

    def _mentor_bytes(self, mentor: MentorState) -> bytes:
        """For other runs, whose mentors may begin as this one."""
        in_nats = is_in_nats(self.config.mentor, own_loss=self.job.loss is not None)
        return mentor_bytes(mentor, self.job.mentor, len(self.splits.train.classes), in_nats=in_nats)
