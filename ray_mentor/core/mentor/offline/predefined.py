"""MentorNet PD: the published network, fitted to a curriculum that is known as a formula.

Jiang et al., "MentorNet: Learning Data-Driven Curriculum for Very Deep Neural Networks on Corrupted Labels",
ICML 2018.
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ray_mentor.core.mentor.networks.mentornet import N_PERCENTS, MentorNet, save_published
from ray_mentor.core.mentor.offline.supervised import Fitting, Rows, error_of, fit
from ray_mentor.core.step.features import Features

PD_PARAMS = Path(__file__).with_name("mentornet_pd.npz")
"""What :func:`fitted_pd` gave, with the trainable percent embedding and seed 0."""

ROWS, TEST_SHARE = 100_000, 0.2
"""Of the grid that are drawn, and the share of them that is held out."""

TRAINABLE = Fitting(steps=5000, batch_size=256, rate=0.01, last_rate=0.002, squared=True)
FROZEN = Fitting(steps=2500, batch_size=256, rate=0.1, last_rate=0.004, squared=True)
"""As published, but for fewer and larger batches: 30,000 of 32 rows; the frozen one's rate times 0.9 every 1000."""


def predefined(difference: Float[Tensor, " rows"], percent: Int[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """v*(d, e): 1 up to percent 18, 1[d ≤ 0] up to 89, and 1 − d within [0, 1] from 90 on.

    Args:
        difference: d, the loss above the running percentile, in nats.
        percent: e of training, 0..99.
    """
    early, late = torch.ones_like(difference), (1 - difference).clamp(0, 1)
    middle = (difference <= 0).to(difference)
    return torch.where(percent <= 18, early, torch.where(percent < 90, middle, late))


def pd_rows(seed: int) -> tuple[Rows, Rows]:
    """Rows to learn from and to test by, drawn from the published grid.

    Losses 0, 0.1, …, 9.9, 10, 11, …, 29; differences −5, −4.9, …, 4.9; percents 0..99: 1.2 million rows.
    """
    losses = torch.cat([torch.arange(100) / 10, torch.arange(10.0, 30.0)])
    differences = torch.arange(-50, 50) / 10
    draw = torch.Generator().manual_seed(seed)
    cells = torch.randperm(len(losses) * len(differences) * N_PERCENTS, generator=draw)[:ROWS]
    percent = cells % N_PERCENTS
    d = differences[cells // N_PERCENTS % len(differences)]
    loss = losses[cells // (N_PERCENTS * len(differences))]
    features = Features(loss, d, torch.zeros(ROWS, dtype=torch.long), percent / N_PERCENTS, torch.zeros(ROWS, 0))
    rows = Rows(features, predefined(d, percent), torch.ones(ROWS))
    cut = torch.arange(ROWS)
    held_out = round(TEST_SHARE * ROWS)
    return rows[cut[held_out:]], rows[cut[:held_out]]


def fitted_pd(*, train_percent: bool = True, seed: int = 0, how: Fitting | None = None) -> tuple[MentorNet, float]:
    """A fresh published network that has learnt the formula, and its mean squared error on rows that it hasn't seen.

    With a trained embedding of the percent the error is below 1e-4, with a fixed random one (as in the released code)
    below 0.015: from such a code it is hard to tell percent 89 from 90. About half a minute on one core.

    Args:
        train_percent: whether the embedding of the percent is trained, too.
        seed: of the network and the rows.
        how: steps and rates; None: those that reach these errors.
    """
    network = MentorNet(train_percent=train_percent, seed=seed)
    learnt, tested = pd_rows(seed)
    fit(network, learnt, how or (TRAINABLE if train_percent else FROZEN), seed)
    with torch.no_grad():
        return network, float(error_of(network, tested, squared=True))


def write_pd(path: str | Path, *, train_percent: bool = True, seed: int = 0) -> float:
    """Fits a PD mentor and writes it as ``--mentor-params`` takes it; returns its error, as :func:`fitted_pd`."""
    network, error = fitted_pd(train_percent=train_percent, seed=seed)
    save_published(network, path)
    return error
