"""A student that is tried before a run starts: what it can't do is said in time, with what to do."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from ray_mentor.core.influence.estimators.tried import check_estimator
from ray_mentor.core.student.inputs import no_padding
from ray_mentor.core.student.random_state import untouched
from ray_mentor.errors import UserError, said_by_others, shown
from ray_mentor.students import is_reference, make_student

SAMPLES = 2


@functools.lru_cache(maxsize=32)
def check_can_be_trained(
    name: str,
    source: bytes | None,
    input_shape: tuple[int, ...],
    n_classes: int,
    estimator: str | None = None,
    *,
    whole_numbers: bool = False,
    each_place: bool = False,
) -> None:
    """Builds the student, passes two samples through it, as in training, and asks for their influences.

    Args:
        estimator: of influences; None where the run asks for none. The package's own students work with all.
        whole_numbers: whether inputs are token ids or the like, and no amounts.
        each_place: whether each place of an input has a class.

    Raises:
        UserError: it can't be built, can't take such inputs, does not return one logit a class, or has an operator that
            the estimator can't do; then with one that can.
    """
    with untouched(torch.device("cpu")):
        student = _made(name, source, input_shape, n_classes).train()
        shape = (SAMPLES, *input_shape)
        inputs = _ids(student, shape) if whole_numbers else torch.randn(shape)
        with torch.no_grad():
            try:
                outputs = student(inputs)
            except Exception as error:  # whatever its code says of inputs that are too small, or of other dimensions
                raise _refused(name, input_shape, error) from error
        of_each = input_shape if each_place else ()
        check_are_logits(name, outputs, SAMPLES, n_classes, of_each)
        if whole_numbers:
            _check_padding(name, student, inputs)
        if estimator is not None and not is_reference(name):
            labels = torch.arange(SAMPLES).view(SAMPLES, *(1 for _ in of_each)).expand(SAMPLES, *of_each) % n_classes
            check_estimator(estimator, student, inputs, labels)


def _ids(student: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """Token ids that the student does not take for padding, closed as a text is where the model asks for that."""
    config = getattr(student, "config", None)
    ids = no_padding(shape, getattr(config, "pad_token_id", None))
    end = getattr(config, "eos_token_id", None)
    if isinstance(end, int) and end != getattr(config, "pad_token_id", None):
        ids[:, -1] = end
    return ids


@torch.no_grad()
def _check_padding(name: str, student: nn.Module, ids: Tensor) -> None:
    """Refuses a student whose logits of a text depend on how far it is padded, and so on the rest of its batch."""
    padding = getattr(getattr(student, "config", None), "pad_token_id", None)
    length = ids.shape[1] // 2 if ids.ndim == _TABLE else 0
    if padding is None or not length:
        return
    short = ids[:, -length:]
    was_training = student.training
    student.eval()
    alone, padded = student(short), student(torch.cat([short, torch.full_like(short, padding)], dim=1))
    student.train(was_training)
    apart = float((alone - padded).abs().max())
    if not apart <= _ROUNDING * max(1.0, float(alone.abs().max())):
        raise UserError(
            f"student {shown(name)} says something else of a text that is padded (by {apart:.2g} in its logits), so "
            "that losses and predictions would depend on which texts share a batch; give a model that masks padding, "
            "e.g. a BERT"
        )


_TABLE, _ROUNDING = 2, 1e-4


def check_are_logits(name: str, outputs: object, samples: int, n_classes: int, places: tuple[int, ...] = ()) -> None:
    """Refuses outputs that are not one logit a class and sample, or of each place of a sample.

    Raises:
        UserError: with what they are.
    """
    found = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    if found != (samples, *places, n_classes):
        raise UserError(
            f"student {shown(name)} returns {shown(found)} for {samples} samples of {n_classes} classes, but it must "
            f"return their logits, of shape {(samples, *places, n_classes)}; let its forward return them"
        )


def _made(name: str, source: bytes | None, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    try:
        return make_student(name, input_shape, n_classes, source=source)
    except UserError:
        raise
    except RuntimeError as error:  # PyTorch has no memory for it
        raise UserError(
            f"student {name} on inputs of shape {input_shape} can't be built ({_first_line(error)}); make the inputs "
            "smaller, or give another --student"
        ) from error
    except Exception as error:  # the model takes no images of this size
        raise _refused(name, input_shape, error) from error


def _refused(name: str, input_shape: tuple[int, ...], error: Exception) -> UserError:
    says = f"{type(error).__name__}: {_first_line(error)}"
    if len(input_shape) == 1 + 2:
        height, width = input_shape[1:]
        what = f"images of {height}×{width} pixels"
        fix = "give images of the size that it is made for, e.g. --image-size 224, or another --student"
    else:
        what, fix = f"inputs of shape {input_shape}", "give others, or another --student"
    return UserError(f"student {shown(name)} can't take {what} ({says}); {fix}")


def _first_line(error: Exception) -> str:
    return next(iter(said_by_others(error).splitlines()), "")
