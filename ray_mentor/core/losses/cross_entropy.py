"""Cross-entropy, one value a sample; of one class, or of a sequence of them."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ray_mentor.errors import UserError

PADDING = -100
"""The label that PyTorch's cross-entropy leaves out."""


def cross_entropy(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """ℓ_i = −log softmax(z_i)[y_i], in nats.

    Raises:
        UserError: no tensor of logits, or (on a CPU, where it can be seen) fewer logits than classes.
    """
    if not isinstance(logits, Tensor):
        fix = "return the logits"
        if hasattr(logits, "logits"):  # a ModelOutput of Hugging Face's
            fix = "return its .logits"
        elif isinstance(logits, Mapping) and "logits" in logits:
            fix = "return its ['logits']"
        raise UserError(
            f"the student returned a {type(logits).__name__}, but the loss needs a tensor of logits; {fix}, or give a "
            "loss of your own"
        )
    try:
        return functional.cross_entropy(logits, labels, reduction="none")
    except IndexError as error:  # a label is out of bounds
        raise UserError(
            f"the student gives {logits.shape[1]} logits a sample, but there is a label {int(labels.max())}, so there "
            f"are at least {int(labels.max()) + 1} classes; give it an output for each"
        ) from error


def sequence_cross_entropy(logits: Float[Tensor, "... classes"], labels: Int[Tensor, ...]) -> Float[Tensor, " batch"]:
    """ℓ_i = the mean of −log softmax(z)[y] over the places of sample i, in nats; of a class a sample, cross-entropy.

    Places whose label is −100, PyTorch's mark of padding, are left out; of a sample without any other it is 0.

    Raises:
        UserError: as :func:`cross_entropy`.
    """
    if not isinstance(logits, Tensor) or labels.ndim == 1:
        return cross_entropy(logits, labels)
    flat = cross_entropy(logits.flatten(0, -2), labels.flatten())
    places = (labels != PADDING).flatten(1).sum(dim=1).clamp(min=1)
    return flat.view(labels.shape).flatten(1).sum(dim=1) / places
