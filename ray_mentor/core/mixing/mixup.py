"""MixUp (Zhang et al. 2018)."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from ray_mentor.core.batch import Arguments, Batch
from ray_mentor.core.mixing.base import AbstractMixing
from ray_mentor.errors import UserError


class MixUp(AbstractMixing):
    """x̃_i = λ·x_i + (1 − λ)·x_π(i), and the loss likewise; λ ~ Beta(α, α), one per batch and rank.

    λ is folded to [1/2, 1], so that a row's own sample keeps the larger share and the row's sample
    weight, history and ledger entry are about that sample.
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        if isinstance(batch.inputs, Arguments):
            raise UserError("mixing is 'mixup', which mixes one tensor of inputs; a student of several cannot be mixed")
        seed = int(torch.randint(2**31, (1,), generator=generator))
        share = np.random.default_rng(seed).beta(self.alpha, self.alpha)
        share = max(share, 1 - share)
        partner = torch.randperm(len(batch), generator=generator).to(batch.labels.device)
        inputs = share * batch.inputs + (1 - share) * batch.inputs[partner]
        return dataclasses.replace(
            batch,
            inputs=inputs,
            partner_labels=batch.labels[partner],
            share=inputs.new_full((len(batch),), share),
        )
