"""A small transformer that says which byte comes next: the student for plain text."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ray_mentor.errors import UserError


@final
class ByteGPT(nn.Module):
    """Bytes and their places embedded → ``depth`` blocks of causal attention and a hidden layer → logits of each byte.

    Pre-norm, GELU, no dropout, 0.88 million params as it stands. Params are drawn from normal distributions: embeddings
    of 0.1 and 0.05, matrices of ½/√(inputs), and 0.02/√(2·depth) where a block adds to what goes past it: short runs
    get further with these than with GPT-2's 0.02 throughout.

    Args:
        context: places that it can be shown at most.
        width: of what goes past the blocks, a multiple of ``heads``.
    """

    def __init__(self, context: int = 128, width: int = 128, depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"width is {width}, but it must be a multiple of the {heads} heads")
        self.bytes = nn.Embedding(256, width)
        self.places = nn.Embedding(context, width)
        self.body = nn.Sequential(*(_Block(width, heads) for _ in range(depth)), nn.LayerNorm(width))
        self.head = nn.Linear(width, 256)
        nn.init.normal_(self.bytes.weight, std=0.1)
        nn.init.normal_(self.places.weight, std=0.05)
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Linear):
                is_back = name.endswith("back")
                nn.init.normal_(
                    layer.weight, std=0.02 / (2 * depth) ** 0.5 if is_back else 0.5 / layer.in_features**0.5
                )
                nn.init.zeros_(layer.bias)

    def forward(self, inputs: Int[Tensor, "batch places"]) -> Float[Tensor, "batch places 256"]:
        """Returns the logits of the byte that follows each place.

        Raises:
            UserError: more places than its context.
        """
        length, most = inputs.shape[1], self.places.num_embeddings
        if length > most:
            raise UserError(f"the student is shown {length} bytes at a time, but its context is {most}; cut shorter")
        found = self.bytes(inputs.long()) + self.places(torch.arange(length, device=inputs.device))
        logits: Tensor = self.head(self.body(found))
        return logits


class _Block(nn.Module):
    """x + attention(norm(x)), then x + hidden layer(norm(x))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _Attention(width, heads)
        self.hidden = nn.Linear(width, 4 * width)
        self.back = nn.Linear(4 * width, width)

    def forward(self, past: Float[Tensor, "batch places width"]) -> Float[Tensor, "batch places width"]:
        past = past + self.attention(self.first(past))
        found: Tensor = past + self.back(functional.gelu(self.hidden(self.second(past))))
        return found


class _Attention(nn.Module):
    """Each place looks at itself and at those before it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.asked = nn.Linear(width, 3 * width)
        self.back = nn.Linear(width, width)

    def forward(self, past: Float[Tensor, "batch places width"]) -> Float[Tensor, "batch places width"]:
        batch, places, width = past.shape
        parts = self.asked(past).view(batch, places, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        mixed: Tensor = self.back(found.transpose(1, 2).reshape(batch, places, width))
        return mixed
