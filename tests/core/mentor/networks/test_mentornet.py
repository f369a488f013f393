"""The published network: its checkpoint's outputs, an LSTM written independently, its size and its traps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ray_mentor.core.mentor.networks import MentorNet, load_published
from ray_mentor.core.mentor.networks.mentornet import PUBLISHED_NAMES, cell_state, percent_of
from ray_mentor.core.step.features import Features
from ray_mentor.errors import UserError

Arrays = dict[str, np.ndarray]
FOLDER = Path(__file__).parents[4].parent / "shared/data/mentornet_pd"


@pytest.fixture
def checkpoint() -> Path:
    if not FOLDER.exists():
        pytest.skip(f"the published checkpoint is absent: no folder {FOLDER}")
    return FOLDER / "weights.npz"


@pytest.fixture
def expected(checkpoint: Path) -> Arrays:
    with np.load(checkpoint.with_name("expected.npz"), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def rows_of(arrays: Arrays, dtype: torch.dtype) -> Features:
    n = len(arrays["loss"])
    return Features(
        loss=torch.tensor(arrays["loss"], dtype=dtype),
        loss_difference=torch.tensor(arrays["loss_difference"], dtype=dtype),
        label=torch.zeros(n, dtype=torch.long),
        progress=torch.tensor(arrays["percent"] / 100, dtype=dtype),
        history=torch.zeros(n, 0, dtype=dtype),
    )


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def numpy_lstm(pair: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One step of TensorFlow's BasicLSTMCell (forget bias 0) in float64 from the zero state: (c, h)."""
    zero = np.zeros((len(pair), 1))
    gates = np.concatenate([pair, zero], axis=1).astype(np.float64) @ kernel.astype(np.float64) + bias
    i, j, f, o = np.split(gates, 4, axis=1)
    c = zero * sigmoid(f + 0.0) + sigmoid(i) * np.tanh(j)
    return c, sigmoid(o) * np.tanh(c)


def numpy_weights(file: Arrays, inputs: Arrays, which: int = 0, bias_on_product: bool = False) -> np.ndarray:
    """The whole network in numpy; `which` takes c (0) or h (1), `bias_on_product` the usual place of the bias."""
    pair = np.stack([inputs["loss"], inputs["loss_difference"]], axis=1)
    label = np.repeat(file["label_embedding"][:1], len(pair), axis=0)
    percent = file["epoch_embedding"][inputs["percent"]]
    directions = [
        numpy_lstm(pair, file[f"bidirectional_rnn.{d}.basic_lstm_cell.kernel"], bias)[which]
        for d in ("fw", "bw")
        for bias in [file[f"bidirectional_rnn.{d}.basic_lstm_cell.bias"]]
    ]
    x = np.concatenate([label, percent, *directions], axis=1).astype(np.float64)
    hidden = np.tanh(x @ file["Variable"].astype(np.float64) + file["Variable_1"])
    vector, last = file["Variable_2"].astype(np.float64), file["Variable_3"].astype(np.float64)
    logits = hidden @ vector + last if bias_on_product else hidden @ (vector + last)
    return sigmoid(logits[:, 0])


# The reference rounded v + β to float32, as the published network does; that moves its float64 outputs by up to
# 4.4e-9 (measured). The test after this one rounds too, and is held to 1e-12.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 5e-9)])
def test_the_published_checkpoint_gives_its_published_weights(
    checkpoint: Path, expected: Arrays, dtype: torch.dtype, tolerance: float
) -> None:
    with torch.no_grad():
        weights = load_published(checkpoint, dtype=dtype).sample_weights(rows_of(expected, dtype))
    assert weights.dtype == dtype
    assert np.abs(weights.numpy() - expected["weight"]).max() < tolerance


def test_with_the_references_rounding_float64_agrees_to_its_last_digits(checkpoint: Path, expected: Arrays) -> None:
    mentor = load_published(checkpoint)
    with torch.no_grad():
        mentor.output_matrix.add_(mentor.output_bias)
        mentor.output_bias.zero_()
        weights = mentor.double().sample_weights(rows_of(expected, torch.float64))
    assert np.abs(weights.numpy() - expected["weight"]).max() < 1e-12


def test_converting_after_loading_loses_nothing(checkpoint: Path) -> None:
    late, early = load_published(checkpoint).double().state_dict(), load_published(checkpoint, dtype=torch.float64)
    assert all(torch.equal(late[k], v) for k, v in early.state_dict().items())


def test_the_traps_give_other_weights(checkpoint: Path, expected: Arrays) -> None:
    with np.load(checkpoint, allow_pickle=False) as opened:
        file = {name: opened[name] for name in opened.files}
    assert np.abs(numpy_weights(file, expected) - expected["weight"]).max() < 5e-9
    assert np.abs(numpy_weights(file, expected, which=1) - expected["weight"]).max() > 0.1  # h for c
    assert np.abs(numpy_weights(file, expected, bias_on_product=True) - expected["weight"]).max() > 1e-3


def test_the_published_checkpoint_is_self_paced_before_percent_80(checkpoint: Path) -> None:
    difference = np.array([-3.0, -1.0, -0.2, 0.2, 1.0, 3.0])
    inputs = {"loss": np.full(6, 3.5), "loss_difference": difference, "percent": np.full(6, 50)}
    with torch.no_grad():
        weights = load_published(checkpoint).sample_weights(rows_of(inputs, torch.float32))
    torch.testing.assert_close(weights, torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]), rtol=0, atol=0.01)


def random_cell() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return 3 * random.normal(size=(50, 2)), random.normal(size=(3, 4)), random.normal(size=4)


def test_cell_state_agrees_with_the_lstm_written_out() -> None:
    pair, kernel, bias = random_cell()
    ours = cell_state(torch.tensor(pair), torch.tensor(kernel), torch.tensor(bias))
    c, h = numpy_lstm(pair, kernel, bias)
    np.testing.assert_allclose(ours.numpy(), c[:, 0], rtol=1e-12)
    assert np.abs(ours.numpy() - h[:, 0]).max() > 0.1


def test_cell_state_agrees_with_torch_s_lstm_cell() -> None:
    pair, kernel, bias = random_cell()
    order = [0, 2, 1, 3]  # PyTorch's gates are i, f, g, o; TensorFlow's i, j, f, o
    cell = torch.nn.LSTMCell(2, 1, dtype=torch.float64)
    with torch.no_grad():
        cell.weight_ih.copy_(torch.tensor(kernel[:2].T[order]))
        cell.weight_hh.copy_(torch.tensor(kernel[2:].T[order]))
        cell.bias_ih.copy_(torch.tensor(bias[order]))
        cell.bias_hh.zero_()
        _, c = cell(torch.tensor(pair))
    torch.testing.assert_close(cell_state(torch.tensor(pair), torch.tensor(kernel), torch.tensor(bias)), c[:, 0])


def test_the_original_network_has_257_trainable_params() -> None:
    mentor = MentorNet()
    assert sum(p.numel() for p in mentor.parameters() if p.requires_grad) == 257
    assert mentor.percent_embedding.shape == (100, 5)
    assert "percent_embedding" in dict(mentor.named_buffers())


def test_the_public_checkpoint_s_shape() -> None:
    mentor = MentorNet(n_labels=3, label_width=5, percent_width=10, train_percent=True)
    assert mentor.hidden_matrix.shape == (17, 20)
    assert sum(p.numel() for p in mentor.parameters()) == 3 * 5 + 100 * 10 + 2 * (12 + 4) + 17 * 20 + 20 + 20 + 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_percent_survives_the_way_through_progress(dtype: torch.dtype) -> None:
    percents = torch.arange(100)
    assert torch.equal(percent_of((percents.double() / 100).to(dtype)), percents)
    assert torch.equal(percent_of(percents.to(dtype) / 100 + 0.0099), percents)


def test_percent_stays_inside_the_table() -> None:
    assert percent_of(torch.tensor([0.0, 0.9999999, 1.0, 1.5])).tolist() == [0, 99, 99, 99]


@pytest.mark.parametrize("label_feature", [False, True])
def test_the_label_is_fed_only_on_request(label_feature: bool) -> None:
    mentor = MentorNet(n_labels=4, label_feature=label_feature)
    torch.nn.init.ones_(mentor.output_matrix)
    zeros = torch.zeros(4)
    logits = mentor(Features(zeros, zeros, torch.arange(4), zeros, torch.zeros(4, 0)))
    assert len(set(logits.tolist())) == (4 if label_feature else 1)


@pytest.mark.parametrize("name", ["n_labels", "label_width", "percent_width"])
def test_an_empty_embedding_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=rf"^{name} is 0, but it must be at least 1; published: 2, 2 and 5$"):
        MentorNet(**{name: 0})


def save(path: Path, mentor: MentorNet, **changes: np.ndarray | None) -> Path:
    state = mentor.state_dict()
    arrays = {theirs: state[ours].numpy() for theirs, ours in PUBLISHED_NAMES.items()}
    arrays.update({k: v for k, v in changes.items() if v is not None})
    np.savez(path, **{k: v for k, v in arrays.items() if k not in changes or changes[k] is not None})
    return path


@pytest.mark.parametrize("widths", [(2, 2, 5), (3, 5, 10)])
@pytest.mark.parametrize("train_percent", [False, True])
def test_both_published_shapes_load(tmp_path: Path, widths: tuple[int, int, int], train_percent: bool) -> None:
    n_labels, label_width, percent_width = widths
    mentor = MentorNet(n_labels=n_labels, label_width=label_width, percent_width=percent_width, seed=7)
    torch.nn.init.ones_(mentor.output_matrix)
    loaded = load_published(save(tmp_path / "mentor.npz", mentor), train_percent=train_percent)
    assert all(torch.equal(loaded.state_dict()[k], v) for k, v in mentor.state_dict().items())
    assert ("percent_embedding" in dict(loaded.named_parameters())) == train_percent


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Variable_2": None, "epoch_embedding": None}, r" lacks epoch_embedding, Variable_2; published names: label_"),
        (
            {"Variable_2": np.zeros((20, 2), np.float32)},
            r"Variable_2 has shape \(20, 2\), but the .* ask for \(20, 1\)$",
        ),
        ({"Variable_1": np.zeros(20, np.int64)}, r"Variable_1 holds int64 values, but they must be finite floats$"),
        ({"Variable_3": np.full(1, np.nan)}, r"Variable_3 holds float64 values, but they must be finite floats$"),
        ({"label_embedding": np.zeros(4)}, r"label_embedding has shape \(4,\), but it must have rows and columns$"),
        ({"epoch_embedding": np.zeros((99, 5))}, r"epoch_embedding has shape \(99, 5\), but .* ask for \(100, 5\)$"),
        ({"Variable": np.array([{}], dtype=object)}, r"is not an \.npz file of plain arrays .*; nothing is unpickled$"),
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, changes: dict[str, np.ndarray | None], message: str) -> None:
    path = save(tmp_path / "mentor.npz", MentorNet(), **changes)
    with pytest.raises(UserError, match=message):
        load_published(path)


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.npz does not exist; give the path of published MentorNet params"):
        load_published(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mentor.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is not an \.npz file of plain arrays"):
        load_published(path)


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "mentor.npy", np.zeros(3))
    with pytest.raises(UserError, match=r"is not an \.npz file of plain arrays"):
        load_published(tmp_path / "mentor.npy")
