"""A trained student to use: a module with its classes, and what it is fed."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
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
from torch.utils.data import Dataset

from ray_mentor.core.step.evaluation import evaluating
from ray_mentor.core.student.pair import pair_of
from ray_mentor.core.student.random_state import untouched
from ray_mentor.data.samples.texts.tokens import Tokens
from ray_mentor.errors import UserError, one_of, said_by_others, shown
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.trained.about import About, code_of, read_about
from ray_mentor.run.trained.fed import BYTES, TEXTS
from ray_mentor.run.trained.files import ABOUT, AVERAGE, CONFIG, FOLDER, LAST, MODEL
from ray_mentor.run.trained.params import from_bytes, load_into
from ray_mentor.run.trained.prepared import of_texts, prepared, raw_parts
from ray_mentor.students import make_student, runs_code, source_of
from ray_mentor.wording import foreign

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

    def prepare(self, image: str | PathLike[str] | Image.Image) -> NDArray[Any]:
        """Pixels (H, W, C) of an image, as :meth:`predict` takes a stack of them: decoded as in training.

        Of a student of texts it is the token ids of one, which is cut to ``about.input.most``.

        Upright as its camera says; where images of any size were trained on, the shorter side resized to
        ``about.input.resize`` (bilinear, antialiased), the middle square of that cropped, and of it the middle H×W.

        Args:
            image: a file, or an image of Pillow's, which is not changed; or a text. Of a JPEG more than twice as large
                a file is reduced by its decoder first, as in training.

        Raises:
            UserError: no image, one of another size where none is resized, or a student of other inputs.
        """
        return prepared(self.about.input, image)

    @overload
    def predict(self, inputs: Tensor, batch_size: int = 256) -> Tensor: ...

    @overload
    def predict(
        self, inputs: NDArray[Any] | pd.DataFrame | Dataset[Any] | Sequence[str], batch_size: int = 256
    ) -> NDArray[np.float32]: ...

    def predict(self, inputs: Any, batch_size: int = 256) -> Any:
        """Probabilities p = softmax(z) of the classes, float32 (N, C): a tensor of a tensor, else an array.

        Args:
            inputs: as they are stored: uint8 images (N, H, W, C); features (N, F) in the order of
                ``about.input.names``, or a data frame that has them by name, also one of Hugging Face's or Ray's data
                sets; texts as strings; a map-style torch data set of (input, label), or what it gives, stacked. They
                are normalised here.
            batch_size: passed through the module at a time, >= 1.

        Raises:
            UserError: inputs of another shape or type, or a student whose outputs are no logits.
        """
        if self.about.input.kind == BYTES:
            raise UserError(
                "the student says at each place which byte comes next, not one class of a sample; "
                "student.module(bytes) gives logits (N, T, 256) of uint8 (N, T), and "
                + foreign("ray-mentor evaluate RUN --data FILE")
                + " says bits per byte of a text"
            )
        if self.about.input.kind == TEXTS and not isinstance(inputs, Tensor):
            return of_texts(self.about.input, inputs, batch_size, len(self.classes), self.probabilities)
        parts = (
            self.probabilities(self.about.input.fed(raw)) for raw in raw_parts(self.about.input, inputs, batch_size)
        )
        found = torch.cat([torch.zeros(0, len(self.classes)), *parts])
        return found if isinstance(inputs, Tensor) else found.numpy()

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
    about = _with_tokenizer(read_about(directory), directory)
    file = _FILES[one_of(which, WHICH, "choice of a trained student")]
    if which == "last" and LAST.removeprefix(f"{FOLDER}/") not in about.files:
        file = MODEL  # the last epoch's is the one that is kept
    if which == "average" and AVERAGE.removeprefix(f"{FOLDER}/") not in about.files:
        raise UserError(f"run {directory.path} kept no average of its student; leave it out")
    build = _builder(about, student, directory)
    told = _other_code(about, build, directory.path)
    return Packed(about, build, _checked(directory, file, about), f"{directory.path}/{file}", told)


def _with_tokenizer(about: About, directory: RunDirectory) -> About:
    """With the tokenizer that lies beside a student of texts.

    Raises:
        UserError: it is gone, or not the one that ``student.json`` goes with.
    """
    fed = about.input
    if fed.kind != TEXTS:
        return about
    files = tuple((name, _read(directory, f"{FOLDER}/{name}", digest)) for name, digest in fed.tokenizer.items())
    assert fed.pad is not None
    assert fed.most is not None
    return dataclasses.replace(about, input=dataclasses.replace(fed, tokens=Tokens(files, fed.pad, fed.most)))


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
        said = f"{type(error).__name__}: {said_by_others(error)}".splitlines()[0][:200]
        raise UserError(
            f"the student of {path} can't be built ({said}); its folder is damaged, or another version wrote it"
        ) from error


def _checked(directory: RunDirectory, file: str, about: About) -> bytes:
    """The params' bytes.

    Raises:
        UserError: they are gone, or not those that ``student.json`` goes with.
    """
    return _read(directory, file, about.files.get(file.removeprefix(f"{FOLDER}/"), {}).get("sha256"))


def _read(directory: RunDirectory, file: str, digest: str | None) -> bytes:
    """A file's bytes, if they have this digest."""
    written = directory.read(file)
    if written is None:
        raise UserError(f"{directory.path}/{file} is not there; put it back, or let the run write it again: --resume")
    if hashlib.sha256(written).hexdigest() != digest:
        raise UserError(
            f"{directory.path}/{file} is not the file that {ABOUT} was written with: it is damaged, or of another "
            "student; put it back, or let the run write it again: --resume"
        )
    return written
