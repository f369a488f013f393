"""What a per-sample loss is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

PerSampleLoss = Callable[[Any, Tensor], Tensor]
"""(what the student returns, as a rule logits (batch, classes); labels (batch,)) -> losses (batch,), differentiable,
one per sample."""
