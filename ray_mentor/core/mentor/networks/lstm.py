"""A mentor over a sample's last losses, as the MentorNet paper draws it: a bidirectional LSTM and two embeddings.

Jiang et al., "MentorNet: Learning Data-Driven Curriculum for Very Deep Neural Networks on Corrupted Labels",
ICML 2018, figure 1; the code that was released with it looks at one loss (:mod:`.mentornet`).
"""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ray_mentor.core.mentor.networks.base import AbstractMentor
from ray_mentor.core.mentor.networks.mentornet import N_HIDDEN, N_PERCENTS, glorot, percent_of, zeros
from ray_mentor.core.step.features import Features
from ray_mentor.errors import UserError


@final
class LSTMMentor(AbstractMentor):
    """z = a · tanh(W [E_label, P_percent, c→, c←] + b) + logit(w_0), with a = 0 in a fresh mentor.

    c→ and c← are the *cell states* of one LSTM forwards and one backwards over the pairs (ℓ_s, d_s), the H past losses
    of the sample, oldest first, and the current one last. Of step s, with (i, f, g, o) = x_s K + h U + k:

        c ← σ(f)·c + σ(i)·tanh(g) ,   h ← σ(o)·tanh(c)

    d_s = ℓ_s − ℓ + d is the loss difference from *today's* percentile: of the past the losses alone are kept. Without
    a past (H = 0) c is the feature of the published network. E is there where the mentor sees the label; P is a fixed
    random code, as published.
    """

    percent_embedding: Tensor

    def __init__(
        self,
        *,
        history_length: int,
        n_labels: int | None = None,
        label_width: int = 2,
        percent_width: int = 5,
        cells: int = 1,
        initial_sample_weight: float = 0.5,
        seed: int = 0,
    ) -> None:
        """Builds a fresh network; the global random state is neither read nor changed.

        Args:
            history_length: H, past losses a sample, >= 0.
            n_labels: rows of E, the number of classes; None: the label is not seen.
            label_width: columns of E, >= 1.
            percent_width: columns of P, >= 1.
            cells: of either direction, >= 1; published: 1.
            initial_sample_weight: w_0, in (0, 1).
            seed: of the initial params.

        Raises:
            UserError: an initial sample weight outside (0, 1).
        """
        super().__init__(initial_sample_weight)
        self.history_length = history_length
        draw = torch.Generator().manual_seed(seed)
        width = percent_width + 2 * cells
        self.label_embedding: nn.Parameter | None = None
        if n_labels is not None:
            self.label_embedding = nn.Parameter(glorot(n_labels, label_width, draw))
            width += label_width
        self.register_buffer("percent_embedding", glorot(N_PERCENTS, percent_width, draw))
        self.input_kernel = nn.Parameter(torch.stack([glorot(2, 4 * cells, draw) for _ in range(2)]))
        self.state_kernel = nn.Parameter(torch.stack([glorot(cells, 4 * cells, draw) for _ in range(2)]))
        self.bias = nn.Parameter(zeros(2, 1, 4 * cells))
        self.hidden_matrix = nn.Parameter(glorot(width, N_HIDDEN, draw))
        self.hidden_bias = nn.Parameter(zeros(N_HIDDEN))
        self.output_vector = nn.Parameter(zeros(N_HIDDEN))

    def forward(self, features: Features) -> Float[Tensor, " batch"]:
        """Returns the logits z_i; labels that are seen lie in 0..n_labels-1.

        Raises:
            UserError: a history of another length than the mentor was built for.
        """
        seen = [F.embedding(percent_of(features.progress), self.percent_embedding), *self.cell_states(features)]
        if self.label_embedding is not None:
            seen.insert(0, F.embedding(features.label.long(), self.label_embedding))
        hidden = torch.tanh(torch.cat(seen, dim=1) @ self.hidden_matrix + self.hidden_bias)
        return hidden @ self.output_vector + self.logit_offset

    def cell_states(self, features: Features) -> Float[Tensor, "2 batch cells"]:
        """c→ and c←."""
        forwards = self._sequence(features)
        steps = torch.stack([forwards, forwards.flip(0)])  # direction, step, sample, feature
        inputs = torch.einsum("dtbx,dxg->tdbg", steps, self.input_kernel) + self.bias
        cell = inputs.new_zeros(2, inputs.shape[2], self.state_kernel.shape[1])
        out = cell
        for given in inputs:
            i, f, g, o = (given + out @ self.state_kernel).chunk(4, dim=-1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            out = torch.sigmoid(o) * torch.tanh(cell)
        return cell

    def _sequence(self, features: Features) -> Float[Tensor, "steps batch 2"]:
        """(ℓ_s, d_s), oldest first."""
        length = features.history.shape[1]
        if length != self.history_length:
            raise UserError(
                f"the features hold a history of {length} losses, but this mentor was built for history_length "
                f"{self.history_length}; use the same history_length for both"
            )
        losses = torch.cat([features.history.flip(1), features.loss[:, None]], dim=1).T.to(self.bias.dtype)
        differences = losses - losses[-1] + features.loss_difference.to(self.bias.dtype)
        return torch.stack([losses, differences], dim=2)
