"""MentorNet as published: a one-step bidirectional LSTM on (loss, loss difference) with two embeddings.

Jiang et al., "MentorNet: Learning Data-Driven Curriculum for Very Deep Neural Networks on Corrupted Labels",
ICML 2018.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ray_mentor.core.mentor.networks.base import AbstractMentor
from ray_mentor.core.step.features import Features
from ray_mentor.errors import UserError

N_PERCENTS = 100
N_HIDDEN = 20

PUBLISHED_NAMES = {
    "label_embedding": "label_embedding",
    "epoch_embedding": "percent_embedding",
    "bidirectional_rnn.fw.basic_lstm_cell.kernel": "forward_kernel",
    "bidirectional_rnn.fw.basic_lstm_cell.bias": "forward_bias",
    "bidirectional_rnn.bw.basic_lstm_cell.kernel": "backward_kernel",
    "bidirectional_rnn.bw.basic_lstm_cell.bias": "backward_bias",
    "Variable": "hidden_matrix",
    "Variable_1": "hidden_bias",
    "Variable_2": "output_matrix",
    "Variable_3": "output_bias",
}
"""The checkpoint's TensorFlow names → ours."""


@final
class MentorNet(AbstractMentor):
    """z = tanh([E_label, P_percent, c→, c←] W + b) (v + β) + z_0.

    E is the label embedding, P the percent embedding, c→ and c← the *cell states* (:func:`cell_state`) of the
    two directions. β, a scalar, is added to the output vector v and not to the product: so it was published.
    z_0 is a constant, 0 as published; it makes a fresh mentor start at a readable sample weight.

    The defaults are the original network (257 trainable params). The public checkpoint's shape is
    ``n_labels=3, label_width=5, percent_width=10, train_percent=True``.

    Every matrix starts Glorot-uniform and every bias at 0, but v = β = 0, so that all sample weights start equal.
    (The published code drew the dense layers from N(0, 1); that start is not kept: half of its tanh units are
    saturated, and the sample weights it gives first are arbitrary.)
    """

    percent_embedding: Tensor

    def __init__(
        self,
        *,
        n_labels: int = 2,
        label_width: int = 2,
        percent_width: int = 5,
        train_percent: bool = False,
        label_feature: bool = False,
        initial_sample_weight: float = 0.5,
        seed: int = 0,
    ) -> None:
        """Builds a fresh network; the global random state is neither read nor changed.

        Args:
            n_labels: rows of E, >= 1; with ``label_feature`` at least the number of classes.
            label_width: columns of E, >= 1.
            percent_width: columns of P, >= 1.
            train_percent: whether P is trained; if not, it is a fixed random code (a buffer).
            label_feature: feed the given label; the published code feeds 0 for every sample.
            initial_sample_weight: sigmoid(z_0), in (0, 1).
            seed: of the initial params.

        Raises:
            UserError: an argument outside these rules.
        """
        super().__init__(initial_sample_weight)
        for name, size in (("n_labels", n_labels), ("label_width", label_width), ("percent_width", percent_width)):
            if size < 1:
                raise UserError(f"{name} is {size!r}, but it must be at least 1; published: 2, 2 and 5")
        self.label_feature = label_feature
        generator = torch.Generator().manual_seed(seed)
        self.label_embedding = nn.Parameter(glorot(n_labels, label_width, generator))
        percent_embedding = glorot(N_PERCENTS, percent_width, generator)
        if train_percent:
            self.percent_embedding = nn.Parameter(percent_embedding)
        else:
            self.register_buffer("percent_embedding", percent_embedding)
        self.forward_kernel = nn.Parameter(glorot(3, 4, generator))
        self.forward_bias = nn.Parameter(zeros(4))
        self.backward_kernel = nn.Parameter(glorot(3, 4, generator))
        self.backward_bias = nn.Parameter(zeros(4))
        self.hidden_matrix = nn.Parameter(glorot(label_width + percent_width + 2, N_HIDDEN, generator))
        self.hidden_bias = nn.Parameter(zeros(N_HIDDEN))
        self.output_matrix = nn.Parameter(zeros(N_HIDDEN, 1))
        self.output_bias = nn.Parameter(zeros(1))

    def forward(self, features: Features) -> Float[Tensor, " batch"]:
        """Returns the logits z_i; with ``label_feature`` the labels lie in 0..n_labels-1."""
        hidden = torch.tanh(self._concatenated(features) @ self.hidden_matrix + self.hidden_bias)
        return (hidden @ (self.output_matrix + self.output_bias)).squeeze(1) + self.logit_offset

    @torch.no_grad()
    def hold(self, progress: Float[Tensor, " 1"]) -> None:
        """From now on it sees this progress, whatever it is shown: P has the same row everywhere."""
        row = F.embedding(percent_of(progress), self.percent_embedding)
        self.percent_embedding.copy_(row.expand_as(self.percent_embedding))

    def _concatenated(self, features: Features) -> Float[Tensor, "batch width"]:
        pair = torch.stack((features.loss, features.loss_difference), dim=1).to(self.forward_kernel.dtype)
        label = features.label.long() if self.label_feature else torch.zeros_like(features.label, dtype=torch.long)
        embedded = [
            F.embedding(label, self.label_embedding),
            F.embedding(percent_of(features.progress), self.percent_embedding),
        ]
        cells = [
            cell_state(pair, self.forward_kernel, self.forward_bias),
            cell_state(pair, self.backward_kernel, self.backward_bias),
        ]
        return torch.cat([*embedded, torch.stack(cells, dim=1)], dim=1)


def percent_of(progress: Float[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """Returns floor(100·progress) as an integer in 0..99.

    1e-4 is added first: 29/100 must give 29, and 100·0.29 is 28.999... in float64.
    """
    return (N_PERCENTS * progress + 1e-4).floor().long().clamp(0, N_PERCENTS - 1)


def cell_state(
    pair: Float[Tensor, "batch 2"], kernel: Float[Tensor, "3 4"], bias: Float[Tensor, " 4"]
) -> Float[Tensor, " batch"]:
    """Cell state of a one-unit LSTM after its only step: c = σ(f + 0)·c_0 + σ(i)·tanh(j), with c_0 = h_0 = 0.

    (i, j, f, o) = [x, h_0] K + b in TensorFlow's gate order, forget bias 0. From the zero state f, o and the
    kernel's last row (h_0's) have no effect: they are params only because the published network has them.
    The feature is c, not the LSTM's output h = σ(o)·tanh(c).
    """
    i, j, _f, _o = (pair @ kernel[:2] + bias).unbind(dim=1)
    return torch.sigmoid(i) * torch.tanh(j)


def load_published(
    path: str | Path, *, train_percent: bool = True, label_feature: bool = False, dtype: torch.dtype = torch.float32
) -> MentorNet:
    """Reads a published checkpoint (.npz with TensorFlow's variable names) of either shape.

    Args:
        path: of the file; nothing in it is unpickled.
        train_percent: whether the percent embedding is trained further (the file cannot say whether it was).
        label_feature: feed the given label; the published checkpoint was trained with label 0 only.
        dtype: of the returned params.

    Raises:
        UserError: no such file, not an .npz of plain arrays, or missing, misshapen or non-finite arrays.
    """
    arrays = _read_arrays(Path(path))
    label_shape = _shape_of(arrays, path, "label_embedding")
    percent_shape = _shape_of(arrays, path, "epoch_embedding")
    mentor = MentorNet(
        n_labels=label_shape[0],
        label_width=label_shape[1],
        percent_width=percent_shape[1],
        train_percent=train_percent,
        label_feature=label_feature,
    )
    state = mentor.state_dict()
    for theirs, ours in PUBLISHED_NAMES.items():
        _check_array(arrays[theirs], tuple(state[ours].shape), f"{path}: {theirs}")
        state[ours] = torch.tensor(arrays[theirs], dtype=dtype)
    mentor.to(dtype).load_state_dict(state)
    return mentor


def save_published(mentor: MentorNet, path: str | Path) -> None:
    """Writes params as :func:`load_published` reads them; what the format has no place for, z_0, must be 0."""
    assert not bool(mentor.logit_offset), "the published network has no constant"
    state = mentor.state_dict()
    np.savez(path, **{theirs: state[ours].numpy() for theirs, ours in PUBLISHED_NAMES.items()})


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no file at all")  # nor wait for a pipe
        with path.open("rb") as opened:
            _check_sizes(opened)
            with np.load(opened, allow_pickle=False) as file:
                arrays = {name: np.asarray(file[name]) for name in PUBLISHED_NAMES if name in file.files}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give the path of published MentorNet params (.npz)") from None
    except Exception as error:  # NumPy raises whatever it trips over: a MemoryError, a TokenError, an OverflowError
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise UserError(f"{path} is not an .npz file of plain arrays ({reason}); nothing is unpickled") from None
    missing = [name for name in PUBLISHED_NAMES if name not in arrays]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; published names: {', '.join(PUBLISHED_NAMES)}")
    return arrays


_MOST_BYTES = 2**24  # the published file holds a hundredth of a megabyte


def _check_sizes(file: IO[bytes]) -> None:
    """What the archive says that it holds; it is not read beyond that."""
    with zipfile.ZipFile(file) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > _MOST_BYTES:
        raise ValueError(f"it unpacks to {size:,} bytes, but published params have fewer than {_MOST_BYTES:,}")
    file.seek(0)


def _shape_of(arrays: dict[str, np.ndarray], path: str | Path, name: str) -> tuple[int, int]:
    shape = arrays[name].shape
    if len(shape) != 2 or 0 in shape:
        raise UserError(f"{path}: {name} has shape {shape}, but it must have rows and columns")
    return shape[0], shape[1]


def _check_array(array: np.ndarray, shape: tuple[int, ...], name: str) -> None:
    if array.shape != shape:
        raise UserError(f"{name} has shape {array.shape}, but the embeddings' widths ask for {shape}")
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise UserError(f"{name} holds {array.dtype} values, but they must be finite floats")


def glorot(n_rows: int, n_columns: int, generator: torch.Generator) -> Float[Tensor, "rows columns"]:
    """Uniform within ±√(6/(rows + columns)) (Glorot and Bengio 2010)."""
    bound = math.sqrt(6.0 / (n_rows + n_columns))
    return zeros(n_rows, n_columns).uniform_(-bound, bound, generator=generator)


def zeros(*shape: int) -> Tensor:
    """Zeros on the CPU, whatever the default device: the generator lives there."""
    return torch.zeros(*shape, device="cpu")
