import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ray_mentor.data import epoch_batches, flip_shift, meta_batch, rank_sizes, rank_slice
from ray_mentor.data.plan.order import Shuffled

COUNT = st.integers(1, 300)
SEED = st.integers(0, 2**31)


@given(n=COUNT, size=st.integers(1, 400), seed=SEED, epoch=st.integers(0, 1000))
def test_an_epoch_shows_every_row_once_in_even_batches(n, size, seed, epoch):
    batches = epoch_batches(Shuffled(n), size, seed, epoch)
    sizes = [len(batch) for batch in batches]
    assert sorted(np.concatenate(batches).tolist()) == list(range(n))
    assert len(batches) == -(-n // size)
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= size
    again = epoch_batches(Shuffled(n), size, seed, epoch)
    assert all((a == b).all() for a, b in zip(batches, again, strict=True))


def test_epochs_and_seeds_differ():
    orders = [np.concatenate(epoch_batches(Shuffled(100), 32, *at)).tolist() for at in [(0, 0), (0, 1), (1, 0), (1, 1)]]
    assert len(set(map(tuple, orders))) == 4


@given(n=st.integers(0, 100), world=st.integers(1, 9))
def test_the_slices_of_all_ranks_are_the_batch(n, world):
    batch = np.random.default_rng(n).permutation(n)
    slices = [rank_slice(batch, rank, world) for rank in range(world)]
    assert (np.concatenate(slices) == batch).all()
    assert [len(part) for part in slices] == rank_sizes(n, world)
    assert max(rank_sizes(n, world)) - min(rank_sizes(n, world)) <= 1


@given(n=COUNT, size=st.integers(1, 400), seed=SEED, update=st.integers(0, 10_000))
def test_a_meta_batch_has_different_rows_and_the_size_asked_for(n, size, seed, update):
    rows = meta_batch(n, size, seed, update)
    assert len(set(rows.tolist())) == len(rows) == min(n, size)
    assert set(rows.tolist()) <= set(range(n))
    assert (rows == meta_batch(n, size, seed, update)).all()


@pytest.mark.parametrize("turn", [0, 3])
def test_meta_batches_cycle_through_shuffled_passes(turn):
    rows = [row for update in range(turn * 5, turn * 5 + 5) for row in meta_batch(20, 4, 0, update)]
    assert sorted(rows) == list(range(20))


def test_flip_shift_gives_mirrored_shifted_images_padded_by_zeros():
    image = torch.arange(1, 8 * 16 * 2 + 1, dtype=torch.float32).reshape(2, 8, 16)
    padded = torch.nn.functional.pad(image, (2, 2, 1, 1))
    expected = {}
    for y in range(3):
        for x in range(5):
            crop = padded[:, y : y + 8, x : x + 16]
            expected[(y, x, False)], expected[(y, x, True)] = crop, crop.flip(2)
    out = flip_shift(image.expand(600, 2, 8, 16), torch.Generator().manual_seed(0))
    seen = [next(key for key, value in expected.items() if torch.equal(value, got)) for got in out]
    assert set(seen) == set(expected)
    assert 240 < sum(key[2] for key in seen) < 360


def test_flip_shift_depends_on_its_generator_alone():
    images = torch.randn(16, 3, 32, 32)
    a = flip_shift(images, torch.Generator().manual_seed(1))
    torch.rand(5)
    assert torch.equal(a, flip_shift(images, torch.Generator().manual_seed(1)))
    assert not torch.equal(a, flip_shift(images, torch.Generator().manual_seed(2)))
    assert a.is_contiguous(memory_format=torch.channels_last)
