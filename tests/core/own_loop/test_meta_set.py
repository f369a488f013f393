"""Meta batches: from tensors, from loaders of all kinds, on any number of ranks, and after a break."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from own_loop import CLASSES, Loop, assert_same_records, blobs
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from ray_mentor.config import MentorConfig
from ray_mentor.core.batch import Arguments, MetaBatch
from ray_mentor.core.exchange import Alone
from ray_mentor.core.own_loop.meta_set import AbstractMetaBatches, meta_batches, split
from ray_mentor.errors import UserError

CPU = torch.device("cpu")


class Pretended(Alone):
    """One rank of several, which the others agree with."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size

    def total(self, value: float) -> float:
        return value * self.world_size


def made(meta: Any, size: int = 4, rank: int = 0, ranks: int = 1, seed: int = 0) -> AbstractMetaBatches:
    return meta_batches(meta, size, Pretended(rank, ranks), CPU, seed)


def numbered(n: int) -> tuple[Tensor, Tensor]:
    """Inputs that say which sample they are."""
    return torch.arange(float(n))[:, None], torch.arange(n) % CLASSES


def names(batch: MetaBatch) -> list[int]:
    assert isinstance(batch.inputs, Tensor)
    return [int(value) for value in batch.inputs[:, 0]]


class TestTensors:
    def test_batches_follow_from_seed_and_number_alone(self) -> None:
        one, other = made(numbered(10)), made(numbered(10))
        assert [names(one(n)) for n in range(5)] == [names(other(n)) for n in range(5)]
        assert names(one(3)) == names(other(3))
        assert names(one(0)) != names(made(numbered(10), seed=1)(0))

    def test_drawn_without_replacement_and_all_in_turn(self) -> None:
        batches = made(numbered(10))
        drawn = [names(batches(n)) for n in range(20)]
        assert all(len(set(batch)) == 4 for batch in drawn)
        assert set().union(*drawn) == set(range(10))

    def test_labels_stay_with_their_inputs(self) -> None:
        batch = made(numbered(10))(3)
        assert batch.labels.tolist() == [name % CLASSES for name in names(batch)]

    def test_a_small_set_is_taken_whole(self) -> None:
        batch = made(numbered(3), size=100)(0)
        assert (names(batch), batch.size) == ([0, 1, 2], 3)

    def test_ranks_share_a_batch_out(self) -> None:
        shares = [made(numbered(10), 5, rank, 2)(7) for rank in (0, 1)]
        assert [batch.size for batch in shares] == [5, 5]
        assert sorted(names(shares[0]) + names(shares[1])) == names(made(numbered(10), 5)(7))

    def test_every_rank_gets_a_sample(self) -> None:
        assert [len(names(made(numbered(10), 1, rank, 3)(0))) for rank in range(3)] == [1, 1, 1]


class Again:
    """Starts from its beginning whenever it is gone through."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        yield from self.batches


def pieces(n: int, size: int) -> list[tuple[Tensor, Tensor]]:
    inputs, labels = numbered(n)
    return list(zip(inputs.split(size), labels.split(size), strict=True))


class TestLoaders:
    @pytest.mark.parametrize(
        "loader",
        [
            DataLoader(TensorDataset(*numbered(7)), batch_size=3),
            DataLoader(TensorDataset(*numbered(7)), batch_size=3, num_workers=1),
            pieces(7, 3),
            tuple(pieces(7, 3)),
            Again(pieces(7, 3)),
            Again([list(pair) for pair in pieces(7, 3)]),
        ],
        ids=["DataLoader", "with a worker", "list", "tuple of three batches", "iterable", "batches that are lists"],
    )
    def test_gone_through_again_and_again(self, loader: Iterable[Any]) -> None:
        batches = made(loader)
        found = [batches(n) for n in range(7)]
        assert [names(batch) for batch in found] == 2 * [[0, 1, 2], [3, 4, 5], [6]] + [[0, 1, 2]]
        assert [batch.size for batch in found[:3]] == [3, 3, 1]

    def test_the_size_is_that_of_all_ranks(self) -> None:
        assert made(pieces(6, 3), ranks=2)(0).size == 6

    def test_an_iterator_that_ends_says_so(self) -> None:
        batches = made(iter(pieces(6, 3)))
        assert [names(batches(n)) for n in range(2)] == [[0, 1, 2], [3, 4, 5]]
        with pytest.raises(
            UserError, match=r"^the meta loader gave no batch; it must hold trusted samples, and be one "
        ):
            batches(2)

    def test_a_data_set_gives_no_batches(self) -> None:
        with pytest.raises(
            UserError,
            match=r"^the meta set is a TensorDataset, but it must be .* a loader of batches; wrap it, Data",
        ):
            made(TensorDataset(*numbered(9)))

    def test_an_empty_one(self) -> None:
        with pytest.raises(UserError, match=r"the meta loader gave no batch; .* can start again$"):
            made([])(0)

    def test_its_draws_leave_the_global_generator_alone(self) -> None:
        batches = made(DataLoader(TensorDataset(*numbered(9)), batch_size=2, shuffle=True))
        torch.manual_seed(3)
        expected = torch.rand(2)
        torch.manual_seed(3)
        for n in range(7):
            batches(n)
        assert torch.equal(torch.rand(2), expected)

    def test_its_draws_do_not_depend_on_the_global_generator(self) -> None:
        def run(seed: int) -> list[list[int]]:
            batches = made(DataLoader(TensorDataset(*numbered(9)), batch_size=3, shuffle=True))
            found = []
            for n in range(9):
                torch.manual_seed(seed + n)
                found.append(names(batches(n)))
            return found

        assert run(0) == run(100)

    def test_another_order_in_every_pass_and_on_every_rank(self) -> None:
        loader = DataLoader(TensorDataset(*numbered(40)), batch_size=40, shuffle=True)
        one, other, seeded = made(loader), made(loader, rank=1, ranks=2), made(loader, seed=1)
        orders = [names(batches(n)) for batches in (one, other, seeded) for n in range(3)]
        assert len({tuple(order) for order in orders}) == 9

    def test_a_distributed_sampler_is_told_the_pass(self) -> None:
        data = TensorDataset(*numbered(40))
        shares = []
        for rank in (0, 1):
            sampler = DistributedSampler(data, num_replicas=2, rank=rank)
            batches = made(DataLoader(data, batch_size=20, sampler=sampler), rank=rank, ranks=2)
            shares.append([names(batches(n)) for n in range(2)])
        assert shares[0][0] != shares[0][1]
        for first, second in zip(*shares, strict=True):
            assert sorted(first + second) == list(range(40))

    @pytest.mark.parametrize("done", [0, 1, 3, 4, 5])
    def test_it_goes_on_where_it_was(self, done: int) -> None:
        """Randomness in the data set itself included."""

        class Jittered(TensorDataset):
            def __getitem__(self, index: int) -> tuple[Tensor, ...]:
                inputs, labels = super().__getitem__(index)
                return inputs + torch.rand(()), labels

        def loader() -> DataLoader[Any]:
            return DataLoader(Jittered(*numbered(7)), batch_size=2, shuffle=True)

        whole, first, second = made(loader()), made(loader()), made(loader())
        expected = [whole(n).inputs for n in range(12)]
        for n in range(done):
            first(n)
        second.load(first.state(done))
        for n in range(done, 12):
            assert torch.equal(second(n).inputs, expected[n])

    @pytest.mark.parametrize("place", [0, 1, 3, 4, 11])
    def test_a_batch_may_be_asked_for_again(self, place: int) -> None:
        """And is the next one again, for whoever goes on from there before it was used."""
        loader = DataLoader(TensorDataset(*numbered(7)), batch_size=2, shuffle=True)
        whole, first, second = made(loader), made(loader), made(loader)
        expected = [whole(n).inputs for n in range(12)]
        for n in range(place):
            first(n)
        assert all(torch.equal(first(place).inputs, expected[place]) for _ in range(3))
        second.load(first.state(place))
        after = made(loader)
        after.load(first.state(place + 1))
        for n in range(place, 12):
            assert torch.equal(second(n).inputs, expected[n])
            assert torch.equal(first(n).inputs, expected[n])
        for n in range(place + 1, 12):
            assert torch.equal(after(n).inputs, expected[n])


class TestSplit:
    def test_named_and_positional_inputs(self) -> None:
        x, y = torch.ones(2, 3), torch.zeros(2, dtype=torch.long)
        inputs, labels = split(({"a": x, "b": 1}, y))
        assert isinstance(inputs, Arguments)
        assert (inputs.positional, set(inputs.named), labels is y) == ((), {"a", "b"}, True)
        inputs, labels = split({"a": x, "labels": y})
        assert isinstance(inputs, Arguments)
        assert (inputs.positional, set(inputs.named), labels is y) == ((), {"a"}, True)
        inputs, labels = split([(x, 5), y])
        assert isinstance(inputs, Arguments)
        assert (inputs.positional[0] is x, inputs.positional[1], inputs.named) == (True, 5, {})

    @pytest.mark.parametrize(
        ("batch", "kind"),
        [
            (torch.ones(2, 3), "Tensor"),
            ((torch.ones(2), torch.ones(2), torch.ones(2)), "tuple"),
            ((torch.ones(2), [0, 1]), "tuple"),
            ({"inputs": torch.ones(2)}, "dict"),
            ("text", "str"),
        ],
    )
    def test_anything_else_is_refused(self, batch: Any, kind: str) -> None:
        with pytest.raises(UserError) as raised:
            split(batch)
        assert str(raised.value) == (
            f"the meta loader gave a {kind}, but it must give (inputs, labels), or a mapping with 'labels'; wrap it in "
            "a generator of such batches"
        )

    def test_inputs_and_labels_of_different_length(self) -> None:
        with pytest.raises(UserError, match=re.escape("the meta loader gave 5 inputs and 4 labels, but it must be as")):
            split((torch.ones(5, 3), torch.ones(4)))


def test_a_loader_of_one_batch_is_the_same_as_tensors() -> None:
    settings = MentorConfig(update_interval=1, meta_batch_size=16)
    tensors = Loop(meta_loader=blobs(16, 1), mentor=settings)
    loader = Loop(meta_loader=[blobs(16, 1)], mentor=settings)
    assert_same_records(loader.run(3), tensors.run(3))


def test_inputs_that_do_not_fit_the_student_say_where() -> None:
    loop = Loop(meta_loader=[(torch.ones(4, 7), torch.zeros(4, dtype=torch.long))])
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        loop.run(1)
