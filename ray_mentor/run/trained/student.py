"""A trained student to use: a module with its classes, and what it is fed."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, overload

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from ray_mentor.core.step.evaluation import evaluating
from ray_mentor.core.student.pair import pair_of
from ray_mentor.core.student.random_state import untouched
from ray_mentor.errors import UserError, listed, one_of, shown
from ray_mentor.run.checkpoint.resume import started_with
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.trained.about import About, code_of
from ray_mentor.run.trained.files import ABOUT, AVERAGE, CONFIG, FOLDER, LAST, MODEL
from ray_mentor.run.trained.params import from_bytes, load_into
from ray_mentor.run.trained.prepared import prepared
from ray_mentor.students import make_student, runs_code, source_of

Build = Callable[[], nn.Module]

_FILES = {"kept": MODEL, "last": LAST, "average": AVERAGE}
WHICH = tuple(_FILES)
"""Of a run's trained students."""

_MOST_BYTES = 2**26  # of student.json: a hundred thousand classes with long names


@dataclass(frozen=True, eq=False)
class Student:
    """A trained student.

    Example:
        >>> student = ray_mentor.Student.from_run("runs/first")
        >>> probabilities = student.predict(images)  # uint8 (N, H, W, C), or features (N, F)
        >>> [student.classes[label] for label in probabilities.argmax(1)]

    Attributes:
        module: in evaluation mode, on the CPU; it takes what is normalised, and returns logits. Of two students
            trained together it is both, and returns log ½(softmax z₁ + softmax z₂).
        about: what ``student.json`` says: how it is built, what it is fed, its epoch and accuracies.
        name: of the file its params come from.
        told: what was found when it was read.
    """

    module: nn.Module
    about: About
    name: str
    told: tuple[str, ...] = ()

    @staticmethod
    def from_run(path: str, student: str | Build | None = None, *, which: str = "kept", files: Any = None) -> Student:
        """Reads it from a run's folder. Nothing that the folder holds is run.

        Args:
            path: of the folder, or a URI of it.
            student: what builds it, where that is code of your own: the callable that the run was given, or what
                ``--student`` said. None: as the folder says, of those that come with the package.
            which: kept; last, the last epoch's; or average, the exponential average, where the run kept one.
            files: the file system that ``path`` is a folder of; None: what it says.

        Raises:
            UserError: no run, or none with a trained student; damaged files, or those of another student.
        """
        return packed(path, student, which=which, files=files).made()

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in order of the probabilities."""
        return self.about.classes

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever uses it should be told."""
        about, epoch = self.about, self.figures.get("epoch")
        early = f"the run ended early: this is the student after epoch {epoch} of {about.epochs}"
        return self.told if about.finished else (*self.told, early)

    @property
    def figures(self) -> Mapping[str, Any]:
        """Its epoch, and the accuracies that the run measured."""
        return self.about.files.get(self.name.rpartition("/")[2], {})

    def prepare(self, image: str | PathLike[str] | Image.Image) -> NDArray[np.uint8]:
        """Pixels (H, W, C) of an image, as :meth:`predict` takes a stack of them: decoded as in training.

        Upright as its camera says; where images of any size were trained on, the shorter side resized to
        ``about.input.resize`` (bilinear, antialiased) and the middle H×W cropped.

        Args:
            image: a file, or an image of Pillow's, which is not changed. Of a JPEG more than twice as large a file is
                reduced by its decoder first, as in training.

        Raises:
            UserError: no image, one of another size where none is resized, or a student of other inputs.
        """
        return prepared(self.about.input, image)

    @overload
    def predict(self, inputs: Tensor, batch_size: int = 256) -> Tensor: ...

    @overload
    def predict(self, inputs: NDArray[Any] | pd.DataFrame, batch_size: int = 256) -> NDArray[np.float32]: ...

    def predict(self, inputs: Any, batch_size: int = 256) -> Any:
        """Probabilities p = softmax(z) of the classes, float32 (N, C): a tensor of a tensor, else an array.

        Args:
            inputs: as they are stored: uint8 images (N, H, W, C); features (N, F) in the order of
                ``about.input.names``, or a data frame that has them by name; of a data set of your own, what it gives.
                They are normalised here.
            batch_size: passed through the module at a time, >= 1.

        Raises:
            UserError: inputs of another shape or type, or a student whose outputs are no logits.
        """
        if isinstance(inputs, pd.DataFrame):
            inputs = self._named(inputs)
        raw = inputs if isinstance(inputs, Tensor) else torch.from_numpy(np.ascontiguousarray(inputs))
        found = torch.cat([torch.zeros(0, len(self.classes)), *self._parts(raw, batch_size)])
        return found if isinstance(inputs, Tensor) else found.numpy()

    def _named(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        """Features by their names; in their order, where they have none."""
        names = self.about.input.names or tuple(map(str, frame.columns))
        missing = [name for name in names if name not in frame.columns]
        if missing:
            raise UserError(
                f"the data frame lacks {listed(missing, 5)} ({len(missing)}); its columns are "
                f"{listed(map(str, frame.columns), 20)}: the student was trained on {len(names)} features, by name"
            )
        return frame[list(names)].to_numpy(np.float32) if self.about.input.names else frame.to_numpy(np.float32)

    def _parts(self, raw: Tensor, batch_size: int) -> Iterator[Float[Tensor, "batch classes"]]:
        self.about.input.check(raw)
        for part in raw.split(batch_size):
            yield self.probabilities(self.about.input.fed(part))

    @torch.no_grad()
    def probabilities(self, fed: Tensor) -> Float[Tensor, "batch classes"]:
        """Of inputs that are normalised already, in the host's memory."""
        device = next(self.module.parameters()).device
        with evaluating(self.module):
            outputs = self.module(fed.to(device))
        if not isinstance(outputs, Tensor) or outputs.shape != (len(fed), len(self.classes)):
            found = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise UserError(
                f"the student returns {shown(found)}, but probabilities are of logits, of shape "
                f"({len(fed)}, {len(self.classes)}): batch and classes; call student.module itself"
            )
        return torch.softmax(outputs.float(), dim=1).cpu()


@dataclass(frozen=True, eq=False)
class Packed:
    """A trained student as bytes, of which any process makes it; it can be pickled if its builder can be.

    Attributes:
        about: what ``student.json`` says.
        build: builds a fresh one.
        content: its params.
        name: of the file they come from.
        told: see :class:`Student`.
    """

    about: About
    build: Build
    content: bytes
    name: str
    told: tuple[str, ...] = ()

    def made(self) -> Student:
        """The student.

        Raises:
            UserError: it can't be built, or the params are those of another.
        """
        with untouched(torch.device("cpu")):
            module = pair_of(self.build) if self.about.students > 1 else self.build()
        load_into(module, from_bytes(self.content, self.name), self.name)
        return Student(module.eval().requires_grad_(False), self.about, self.name, self.told)


def packed(path: str, student: str | Build | None = None, *, which: str = "kept", files: Any = None) -> Packed:
    """What :meth:`Student.from_run` reads, with the same arguments and errors."""
    directory = RunDirectory(path, files)
    about = read_about(directory)
    file = _FILES[one_of(which, WHICH, "choice of a trained student")]
    if which == "last" and LAST.removeprefix(f"{FOLDER}/") not in about.files:
        file = MODEL  # the last epoch's is the one that is kept
    if which == "average" and AVERAGE.removeprefix(f"{FOLDER}/") not in about.files:
        raise UserError(f"run {directory.path} kept no average of its student; leave it out")
    build = _builder(about, student, directory)
    told = _other_code(about, build, directory.path)
    return Packed(about, build, _checked(directory, file, about), f"{directory.path}/{file}", told)


def read_about(directory: RunDirectory) -> About:
    """What a run's folder says of its trained student.

    Raises:
        UserError: no run, none that has one, or damage.
    """
    written = directory.read(ABOUT, at_most=_MOST_BYTES)
    if written is not None:
        return About.from_bytes(written, f"{directory.path}/{ABOUT}")
    started_with(directory, "give the folder of a finished run, e.g. runs/first")
    raise UserError(
        f"{directory.path} has no trained student ({ABOUT}), which a run writes when it ends; let it go on to its end: "
        "--resume"
    )


def _builder(about: About, student: str | Build | None, directory: RunDirectory) -> Build:
    """Code that is not the package's is run where a caller names it, never because a file does."""
    path = directory.path
    if callable(student):
        return student
    if about.build is None and student is None:
        raise UserError(
            f"the student of {path} is built by code of your own; say by what: --student module:function, or in Python "
            "Student.from_run(path, build)"
        )
    given = dict(about.build or {"input_shape": about.input.shape, "n_classes": len(about.classes)})
    name = str(student or given.get("name"))
    if student is None and runs_code(name):
        raise UserError(
            f"the student of {path} is {shown(name)}, code that may be anybody's; if it is yours, say so: "
            f"--student {name}, or in Python Student.from_run(path, {name!r})"
        )
    given |= {"name": name, "input_shape": tuple(given["input_shape"]), "source": _source(name, student, directory)}
    return functools.partial(_made, given, path)


def _other_code(about: About, build: Build, path: str) -> tuple[str, ...]:
    """Says that a file holds other code than the one by which the student was trained, which its params may fit."""
    given: dict[str, Any] = build.args[0] if isinstance(build, functools.partial) and build.func is _made else {}
    now = code_of(functools.partial(make_student, **given)) if given else None
    if now is None or about.code in (None, now):
        return ()
    name = shown(str(given["name"]))
    return (f"warning: the file of {name} holds other code than when {path} was trained: is it the same student?",)


def _source(name: str, student: str | None, directory: RunDirectory) -> bytes | None:
    """What the name says alone, or the folder, where the student is Hugging Face's: its config, which is no code."""
    there = None if student is not None else directory.read(CONFIG, at_most=_MOST_BYTES)
    return source_of(name) if there is None else there


def _made(given: dict[str, Any], path: str) -> nn.Module:
    try:
        return make_student(**given)
    except UserError:
        raise
    except Exception as error:  # of whatever class others' code trips over a config that is damaged
        said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise UserError(
            f"the student of {path} can't be built ({said}); its folder is damaged, or another version wrote it"
        ) from error


def _checked(directory: RunDirectory, file: str, about: About) -> bytes:
    """The params' bytes.

    Raises:
        UserError: they are gone, or not those that ``student.json`` goes with.
    """
    name = file.removeprefix(f"{FOLDER}/")
    written = directory.read(file)
    if written is None:
        raise UserError(f"{directory.path}/{file} is not there; put it back, or let the run write it again: --resume")
    if hashlib.sha256(written).hexdigest() != about.files.get(name, {}).get("sha256"):
        raise UserError(
            f"{directory.path}/{file} is not the file that {ABOUT} was written with: it is damaged, or of another "
            "student; put it back, or let the run write it again: --resume"
        )
    return written
