"""What a run's student is measured by when an epoch ends, each rank measuring its share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import AbstractExchange, Alone
from ray_mentor.core.losses import expected_error, values_of
from ray_mentor.core.step.evaluation import gives_probabilities, hits, losses_on, total_loss
from ray_mentor.core.student.average import Average
from ray_mentor.core.student.pair import members_of
from ray_mentor.data.plan.batches import rank_slice
from ray_mentor.data.readers.texts.windows import bits_per_byte
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.texts.plain import window_bytes
from ray_mentor.data.splits.splits import Splits
from ray_mentor.run.findings.group_figures import by_group

_PART = 512  # samples per evaluation batch


@dataclass(frozen=True)
class Measured:
    """The end of an epoch.

    Attributes:
        figures: ``trusted_accuracy`` on held-out trusted samples and ``meta_holdout_loss`` on the same (on the
            validation split, where memory shows in given labels);
            ``test_accuracy`` where the test split's truth is known, else ``test_agreement`` with its given labels; and
            ``validation_agreement`` with the given labels of the validation split. None where there is none. Where two
            students are trained these are of the mean of both probabilities, and ``test_accuracy_first`` and
            ``test_accuracy_second`` of each by itself (or ``test_agreement_…``). ``test_loss``, the mean loss on the
            test split, is there where targets aren't one class each; of plain text ``trusted_bits_per_byte``,
            ``test_bits_per_byte`` and ``validation_bits_per_byte`` are, in place of all shares. By group there are
            those of :func:`~ray_mentor.run.findings.group_figures.by_group`, too.
        hits: which held-out trusted samples the student gives their label, in their order; of plain text minus the loss
            on each, in nats a byte; None where there are none.
        errors: 1 − p_y of each sample of the validation split, by given labels; None where nobody goes by them.
    """

    figures: dict[str, float | None]
    hits: Bool[Tensor, " held_out"] | Float[Tensor, " held_out"] | None
    errors: Float[Tensor, " validation"] | None = None


def measured(
    curriculum: Curriculum,
    splits: Splits,
    held_out: Samples | None,
    exchange: AbstractExchange,
    beat: Callable[[], None] = lambda: None,
    average: Average | None = None,
) -> Measured:
    """What there is to measure at the end of an epoch; tells the curriculum of the held-out loss. A collective call.

    Args:
        held_out: trusted samples that neither student nor mentor learns from; None if there are none.
        beat: called after each part of a split.
        average: of the student, which is measured, too.
    """
    shown = shares(curriculum, splits, exchange, beat)  # gives all ranks rank 0's buffers
    right = _hits(curriculum, held_out, exchange, beat)
    losses = _given_losses(curriculum, splits.validation, exchange)
    loss = _meta_holdout_loss(curriculum, held_out if losses is None else losses, exchange)
    if loss is not None:
        curriculum.note_holdout(loss)
    trusted = trusted_mean(right) | by_group("trusted_accuracy", held_out, right, Alone())
    if average is not None:
        shown |= _shares_of(average, curriculum, splits, held_out, exchange, beat)
    return Measured(
        {"meta_holdout_loss": loss, **trusted, **shown, **_test_loss(curriculum, splits, exchange)},
        right,
        None if losses is None else expected_error(losses),
    )


def trusted_mean(hits: Tensor | None) -> dict[str, float | None]:
    """What held-out trusted samples show: a share that is right, or bits per byte of plain text.

    Args:
        hits: as :class:`Measured` has them.
    """
    mean = None if hits is None else hits.double().mean().item()
    if hits is None or hits.dtype == torch.bool or mean is None:
        return {"trusted_accuracy": mean}
    return {f"trusted_{BITS}": bits_per_byte(-mean)}


def _hits(
    curriculum: Curriculum, held_out: Samples | None, exchange: AbstractExchange, beat: Callable[[], None]
) -> Tensor | None:
    """Of held-out trusted samples, as :class:`Measured` has them; a collective call."""
    if held_out is not None and window_bytes(held_out) is not None:
        parts = own_parts(held_out, "held out", curriculum, exchange, beat)
        return -losses_on(curriculum.bare, curriculum.parts.shown_loss, parts, exchange)
    own = _own_hits(curriculum, held_out, "held out", exchange, beat)
    return None if own is None else exchange.gather_any(own.double()[:, None])[:, 0].bool()


def _shares_of(
    average: Average,
    curriculum: Curriculum,
    splits: Splits,
    held_out: Samples | None,
    exchange: AbstractExchange,
    beat: Callable[[], None],
) -> dict[str, float | None]:
    """Of the average, as :func:`shares` has them of the student, and on held-out trusted samples."""
    with average.in_place_of(curriculum.bare):
        found = shares(curriculum, splits, exchange, beat) | trusted_mean(_hits(curriculum, held_out, exchange, beat))
    return {each: found[name] for each, name in OF_AVERAGE.items() if found.get(name) is not None}


def _test_loss(curriculum: Curriculum, splits: Splits, exchange: AbstractExchange) -> dict[str, float]:
    """Mean loss on the test split, where its targets aren't one class each; a collective call."""
    test = splits.test
    if test is None or test.targets is None or window_bytes(test) is not None:
        return {}
    total = total_loss(curriculum.bare, curriculum.parts.loss, own_parts(test, "test", curriculum, exchange))
    return {TEST_LOSS: exchange.total(total) / len(test)}


TEST_LOSS = "test_loss"
"""In place of accuracy, where targets aren't one class each."""

BITS = "bits_per_byte"
"""In place of accuracy and agreement, of plain text: less is better."""

ALL_BITS = tuple(f"{split}_{BITS}" for split in ("test", "validation"))
"""The figures that a run of plain text has of its splits; of trusted samples there is one more."""


def _bits(
    curriculum: Curriculum, splits: Splits, exchange: AbstractExchange, beat: Callable[[], None]
) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name, samples in zip(ALL_BITS, (splits.test, splits.validation), strict=True):
        if samples is not None:
            parts = own_parts(samples, name, curriculum, exchange, beat)
            total = total_loss(curriculum.bare, curriculum.parts.shown_loss, parts)
            found[name] = bits_per_byte(exchange.total(total) / len(samples))
    return found


def note_on_outputs(curriculum: Curriculum, samples: Samples, exchange: AbstractExchange) -> str | None:
    """What there is to say of a student whose outputs cross-entropy takes for logits, and which are none."""
    inputs, _ = next(own_parts(samples, "held out", curriculum, exchange))
    if not gives_probabilities(curriculum.bare, inputs):
        return None
    return (
        "warning: the student's outputs are probabilities (each sample's sum to 1), but cross-entropy takes logits, "
        "and learns slowly from anything else; leave the softmax out"
    )


def shares(
    curriculum: Curriculum, splits: Splits, exchange: AbstractExchange, beat: Callable[[], None] = lambda: None
) -> dict[str, float | None]:
    """How often rank 0's student gives the labels of the test and the (noisy) validation split; None where none is. Of
    plain text bits per byte of both.

    A collective call. Without synchronised batch norm the ranks' running statistics differ; rank 0's
    are the run's, as at the next forward pass.
    """
    for buffer in curriculum.bare.buffers():
        buffer.copy_(exchange.broadcast_floats(buffer.cpu()))
    if window_bytes(splits.train) is not None:
        return _bits(curriculum, splits, exchange, beat)
    right = _own_hits(curriculum, splits.test, "test", exchange, beat)
    tested = _share(splits.test, right, exchange)
    is_true = splits.test is not None and splits.test.true_labels is not None
    what = "test_accuracy" if is_true else "test_agreement"
    validated = _own_hits(curriculum, splits.validation, "validation", exchange, beat)
    of_each = {
        f"{what}_{name}": _share(
            splits.test, _own_hits(curriculum, splits.test, "test", exchange, beat, student), exchange
        )
        for name, student in members_of(curriculum.bare).items()
    }
    return {
        "test_accuracy": tested if is_true else None,
        "test_agreement": None if is_true else tested,
        "validation_agreement": _share(splits.validation, validated, exchange),
        **of_each,
        **by_group(what, splits.test, right, exchange),
    }


_TESTED = ("test_accuracy", "test_agreement")

OF_EACH = tuple(f"{what}_{name}" for what in _TESTED for name in ("first", "second"))
"""The figures that there are of each of two students."""

OF_AVERAGE = {f"{what}_average": what for what in (*_TESTED, "trusted_accuracy", f"test_{BITS}", f"trusted_{BITS}")}
"""Those of a student's exponential average, as far as they are there, and what the student's own are called."""


def _given_losses(
    curriculum: Curriculum, validation: Samples | None, exchange: AbstractExchange
) -> Float[Tensor, " validation"] | None:
    """Of the validation split by its given labels, in evaluation mode; None where nobody goes by them."""
    if not curriculum.parts.by_given or validation is None:
        return None
    parts = own_parts(validation, "validation", curriculum, exchange)
    return losses_on(curriculum.bare, curriculum.parts.shown_loss, parts, exchange)


def _meta_holdout_loss(
    curriculum: Curriculum, held_out: Samples | Float[Tensor, " validation"] | None, exchange: AbstractExchange
) -> float | None:
    """What a mentor makes small, on samples that the student is not trained on; None where there are none.

    They are trusted ones that the mentor does not learn from, or losses of the validation split, by given labels.

    Without a mentor: where mixing goes by how much of the others the student knows by heart; elsewhere None.

    In evaluation mode: so few samples make a poor batch for batch norm, and dropout would be noise.
    """
    if held_out is None or (curriculum.parts.mentor is None and not curriculum.parts.mixing.as_memorised):
        return None
    if isinstance(held_out, Tensor):
        return float(values_of(curriculum.parts.meta_loss)(held_out).mean())
    parts = own_parts(held_out, "held out", curriculum, exchange)
    total = total_loss(curriculum.bare, curriculum.parts.meta_loss, parts)
    return exchange.total(total) / len(held_out)


def _share(samples: Samples | None, own: Tensor | None, exchange: AbstractExchange) -> float | None:
    """Of all ranks, from the hits of each."""
    return None if own is None or samples is None else exchange.total(float(own.sum())) / len(samples)


def _own_hits(
    curriculum: Curriculum,
    samples: Samples | None,
    name: str,
    exchange: AbstractExchange,
    beat: Callable[[], None],
    student: nn.Module | None = None,
) -> Bool[Tensor, " samples"] | None:
    """Of this rank's share, of the curriculum's student or of one of its two; None on every rank without samples or
    classes, or if the outputs are no logits.
    """
    if samples is None or samples.targets is not None:
        return None
    own = hits(student or curriculum.bare, own_parts(samples, name, curriculum, exchange, beat))
    return None if exchange.total(float(own is None)) else own


def own_parts(
    samples: Samples | None,
    name: str,
    curriculum: Curriculum,
    exchange: AbstractExchange,
    beat: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """This rank's share of a split, some samples at a time; nothing where there is none.

    Args:
        name: of the split; what random transforms draw depends on it.
    """
    if samples is None:
        return
    own = rank_slice(np.arange(len(samples)), exchange.rank, exchange.world_size)
    draws = curriculum.generator(name, exchange.rank).initial_seed()
    parts = [(own[start : start + _PART], (draws, start)) for start in range(0, len(own), _PART)]
    for (rows, _), inputs in zip(parts, samples.inputs.in_parts(parts), strict=True):
        yield inputs, samples.for_loss(rows)
        beat()


def wilson(right: int, count: int) -> tuple[float, float]:
    """Wilson's interval of a share p̂ = right/count: (p̂ + z²/2n ± z·√(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n), z of 95 %."""
    share, squared = right / count, _Z**2 / count
    middle = share + squared / 2
    half = _Z * math.sqrt(share * (1 - share) / count + squared / (4 * count))
    return max(0.0, (middle - half) / (1 + squared)), min(1.0, (middle + half) / (1 + squared))


_Z = 1.959963984540054
