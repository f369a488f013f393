"""A trained student as a program that needs nothing of this package: raw inputs in, logits out."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.core.student.random_state import untouched
from ray_mentor.errors import UserError
from ray_mentor.extras import needing
from ray_mentor.run.trained.fed import BYTES, IMAGES, OWN, TEXTS, Input
from ray_mentor.run.trained.student import Student

TOLERANCE = 1e-5
"""Of logits, as a share of the largest in size where that is above 1."""

_BATCHES = (1, 2, 5)
_TRACED = 3  # samples that the program is traced with: not one of those that it is tried with
_FEW_IDS = 5  # token ids that every vocabulary has
_LONGEST = 8  # of texts that a program is tried on
_INPUT, _OUTPUT = "raw", "logits"

Program = Callable[[Tensor], Tensor]


class FromRaw(nn.Module):
    """The student behind its normalisation, which is (raw − mean)/std in float32 with the numbers of training.

    Args:
        module: takes what is normalised.
        fed: what it is fed.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, module: nn.Module, fed: Input) -> None:
        super().__init__()
        self.module = module
        self._kind = fed.kind
        scale = 255 if fed.kind == IMAGES else 1
        shape = (-1, 1, 1) if fed.kind == IMAGES else (-1,)
        for name, values in (("mean", fed.mean), ("std", fed.std)):
            self.register_buffer(name, (torch.tensor(values, dtype=torch.float32) * scale).reshape(shape))

    def forward(self, raw: Tensor) -> Float[Tensor, "batch classes"]:
        if self._kind in (OWN, TEXTS, BYTES):
            return self.module(raw)  # type: ignore[no-any-return]
        values = raw.permute(0, 3, 1, 2) if self._kind == IMAGES else raw
        return self.module((values.to(torch.float32) - self.mean) / self.std)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Exported:
    """A program as it is written, and how it did beside the student.

    Attributes:
        content: of the file.
        difference: the largest of logits, over all batches that were tried.
        largest: logit of the student's, in size.
        tried: samples.
    """

    content: bytes
    difference: float
    largest: float
    tried: int


def exported(student: Student, kind: str) -> Exported:
    """The student as a program of ``torch.export``, or in ONNX; with any number of samples in a batch.

    It is run beside the student from the bytes that are written, on batches of other sizes than it was traced with.

    Args:
        kind: torch or onnx.

    Raises:
        UserError: a student that can't be traced, or a program whose logits are others.
        MissingExtraError: ONNX is asked for, and not installed.
    """
    fed = student.about.input
    whole = FromRaw(student.module, fed).eval()
    write, read = {"torch": (_as_torch, _torch_program), "onnx": (_as_onnx, _onnx_program)}[kind]
    with untouched(torch.device("cpu")), needing("onnx", f"--to {kind}"), torch.no_grad(), _hushed():
        torch.manual_seed(0)
        try:
            content = write(whole, drawn(fed, _TRACED), student)
        except (ModuleNotFoundError, UserError):
            raise
        except Exception as error:  # of whatever class the tracer trips over
            said = (str(error).strip().splitlines() or [""])[0]
            raise UserError(
                f"the student can't be exported to {kind} ({type(error).__name__}: {said[:200]}); give another --to, "
                "or a student without control flow that depends on its inputs"
            ) from error
        program = read(content)
        found = [_compared(program, student, drawn(fed, count)) for count in _BATCHES]
    difference, largest = (max(values) for values in zip(*found, strict=True))
    if not difference <= TOLERANCE * max(1.0, largest):
        raise UserError(
            f"the program's logits differ from the student's by {difference:.1e} (of up to {largest:.1f}), more than "
            f"{TOLERANCE:g}; nothing is written: give another --to"
        )
    return Exported(content, difference, largest, sum(_BATCHES))


def drawn(fed: Input, count: int) -> Tensor:
    """Raw inputs at random, as large as the training's; of a user's own data set ones, if they are integers.

    Token ids of texts are low ones, and each sample has another number of them.
    """
    if fed.kind in (IMAGES, BYTES):
        return torch.randint(0, 256, (count, *fed.stored_shape), dtype=torch.uint8)
    if fed.kind == TEXTS:
        assert fed.pad is not None
        ids = torch.randint(0, _FEW_IDS, (count, min(fed.shape[0], _LONGEST + count)))
        ids[ids == fed.pad] = fed.pad + 1
        for row in range(count):
            ids[row, ids.shape[1] - row :] = fed.pad
        return ids
    if fed.kind == OWN:
        dtype = getattr(torch, fed.dtype)
        own = (count, *fed.shape)
        return torch.randn(own, dtype=dtype) if dtype.is_floating_point else torch.ones(own, dtype=dtype)
    return torch.tensor(fed.mean) + torch.tensor(fed.std) * torch.randn(count, *fed.shape)


def _compared(program: Program, student: Student, raw: Tensor) -> tuple[float, float]:
    """By as much as the logits differ at most, and the largest of the student's."""
    expected, found = student.module(student.about.input.fed(raw)), program(raw)
    if found.shape != expected.shape:
        return float("inf"), 0.0
    return float((found - expected).abs().max()), float(expected.abs().max())


def _dynamic(fed: Input) -> dict[int, Any]:
    """Which dimensions of raw inputs are of any size."""
    batch: Any = torch.export.Dim("batch", min=1)
    if fed.kind != TEXTS:
        return {0: batch}
    return {0: batch, 1: torch.export.Dim("tokens", min=2, max=fed.most)}


def _as_torch(whole: FromRaw, raw: Tensor, student: Student) -> bytes:
    program = torch.export.export(whole, (raw,), dynamic_shapes=(_dynamic(student.about.input),))
    sink = io.BytesIO()
    torch.export.save(program, sink, extra_files={"student.json": student.about.to_bytes().decode()})
    return sink.getvalue()


def _torch_program(content: bytes) -> Program:
    module: Program = torch.export.load(io.BytesIO(content)).module()
    return module


def _as_onnx(whole: FromRaw, raw: Tensor, student: Student) -> bytes:
    import onnx  # noqa: F401, PLC0415 - an extra
    import onnxscript  # noqa: F401, PLC0415

    program = torch.onnx.export(
        whole,
        (raw,),
        dynamo=True,
        dynamic_shapes=(_dynamic(student.about.input),),
        input_names=[_INPUT],
        output_names=[_OUTPUT],
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    entry = proto.metadata_props.add()
    entry.key, entry.value = "student.json", student.about.to_bytes().decode()
    content: bytes = proto.SerializeToString()
    return content


def _onnx_program(content: bytes) -> Program:
    import onnxruntime  # noqa: PLC0415 - an extra

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(raw: Tensor) -> Tensor:
        (outputs,) = session.run([_OUTPUT], {_INPUT: raw.numpy()})
        return torch.from_numpy(np.array(outputs))

    return run


@contextmanager
def _hushed() -> Iterator[None]:
    """Exporters warn of themselves."""
    root: Any = logging.getLogger("torch.onnx")
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
