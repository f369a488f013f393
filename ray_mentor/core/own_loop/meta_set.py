"""The trusted set of a plain training loop: the n-th meta batch, from tensors or from a loader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler, IterableDataset

from ray_mentor.core.batch import Arguments, Inputs, MetaBatch, on_device
from ray_mentor.core.exchange import AbstractExchange
from ray_mentor.core.student.random_state import untouched
from ray_mentor.errors import UserError, shown

MetaSet = tuple[Tensor, Tensor] | Iterable[Any]
"""Inputs and labels of all trusted samples, or a loader: an iterable of batches that can be gone through again."""


class AbstractMetaBatches(ABC):
    """Gives this rank's share of the n-th meta batch, and can go on where another run of the program was."""

    @abstractmethod
    def __call__(self, update: int) -> MetaBatch:
        """The share of meta update ``update``, counted from 0; the same if it is asked for again."""

    @abstractmethod
    def state(self, upcoming: int) -> dict[str, Any]:
        """What :meth:`load` needs to go on with this meta update, in plain types."""

    @abstractmethod
    def load(self, state: dict[str, Any]) -> None:
        """Goes on where ``state`` was taken."""


def meta_batches(
    meta: MetaSet, size: int, exchange: AbstractExchange, device: torch.device, seed: int
) -> AbstractMetaBatches:
    """Meta batches on ``device``.

    Args:
        meta: tensors, of which ``size`` rows are drawn a time, shared out among the ranks; or this rank's loader,
            whose batches are taken as they are.
        size: meta batch size over all ranks; tensors only.
        seed: of what is drawn, be it here or by the loader from PyTorch's default generator.

    Raises:
        UserError: an empty set, a data set without batches, or inputs and labels of different length.
    """
    if _is_pair(meta):
        return _Tensors(meta, size, exchange, device, seed)  # type: ignore[arg-type]
    if isinstance(meta, Dataset) and not isinstance(meta, IterableDataset):  # gives samples, which are no batches
        raise UserError(
            f"the meta set is a {type(meta).__name__}, but it must be (inputs, labels) or a loader of batches; wrap "
            "it, DataLoader(dataset, batch_size=100, shuffle=True)"
        )
    return _Loader(meta, exchange, device, seed)


def split(batch: Any) -> tuple[Inputs, Tensor]:
    """A loader's batch as model inputs and labels.

    ``(inputs, labels)``, where inputs may be a tensor, a tuple (positional arguments) or a mapping (named ones); or a
    mapping with an entry ``labels``, whose other entries are named arguments.

    Raises:
        UserError: anything else.
    """
    if isinstance(batch, Mapping) and "labels" in batch:
        return Arguments((), {key: value for key, value in batch.items() if key != "labels"}), batch["labels"]
    if isinstance(batch, tuple | list) and len(batch) == 2 and isinstance(batch[1], Tensor):
        inputs, labels = batch
        if isinstance(inputs, Tensor):
            return _same_length(inputs, labels)
        if isinstance(inputs, Mapping):
            return Arguments((), dict(inputs)), labels
        if isinstance(inputs, tuple | list):
            return Arguments(tuple(inputs), {}), labels
    raise UserError(
        f"the meta loader gave a {type(batch).__name__}, but it must give (inputs, labels), or a mapping with "
        "'labels'; wrap it in a generator of such batches"
    )


def _is_pair(meta: MetaSet) -> bool:
    return isinstance(meta, tuple) and len(meta) == 2 and all(isinstance(part, Tensor) for part in meta)


def _same_length(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    if len(inputs) != len(labels):
        raise UserError(f"the meta loader gave {len(inputs)} inputs and {len(labels)} labels, but it must be as many")
    return inputs, labels


def _mixed(*words: int) -> int:
    """One seed of several numbers. They must be mixed: PyTorch's generator reads 32 bits of a seed, the lower ones."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


class _Tensors(AbstractMetaBatches):
    """Drawn without replacement, from seed and n alone."""

    def __init__(
        self, meta: tuple[Tensor, Tensor], size: int, exchange: AbstractExchange, device: torch.device, seed: int
    ) -> None:
        self._inputs, self._labels = meta
        if len(self._inputs) != len(self._labels) or len(self._labels) == 0:
            raise UserError(
                f"the meta set holds {len(self._inputs)} inputs and {len(self._labels)} labels, but it must hold as "
                "many of both, and some"
            )
        self._size = min(len(self._labels), max(size, exchange.world_size))
        self._exchange = exchange
        self._device = device
        self._seed = seed

    def state(self, upcoming: int) -> dict[str, Any]:
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Nothing to do: the n-th batch follows from seed and n."""

    def __call__(self, update: int) -> MetaBatch:
        generator = torch.Generator().manual_seed(_mixed(self._seed, update))
        rows = torch.randperm(len(self._labels), generator=generator)[: self._size]
        own = rows[self._exchange.rank :: self._exchange.world_size].sort().values.to(self._labels.device)
        return MetaBatch(self._inputs[own].to(self._device), self._labels[own].to(self._device), self._size)


@dataclass(frozen=True)
class _Held:
    """A loader's batch that may be asked for again: the first is, once it was tried.

    Attributes:
        place: where the loader was before it.
    """

    update: int
    batch: Any
    place: dict[str, int]


class _Loader(AbstractMetaBatches):
    """The loader's batches in its own order, again and again.

    What it draws from PyTorch's default generator follows from seed, rank and pass alone, and leaves the training
    loop's draws alone.
    """

    def __init__(self, loader: Iterable[Any], exchange: AbstractExchange, device: torch.device, seed: int) -> None:
        self._loader = loader
        self._exchange = exchange
        self._device = device
        self._seed = seed
        self._passes = 0  # begun
        self._position = 0  # batches given in this pass
        self._batches: Iterator[Any] = iter(())
        self._random = torch.get_rng_state()
        self._held: _Held | None = None

    def __call__(self, update: int) -> MetaBatch:
        if self._held is None or self._held.update != update:
            place = {"passes": self._passes, "position": self._position}
            self._held = _Held(update, self._next(), place)
        inputs, labels = split(self._held.batch)
        size = int(self._exchange.total(float(len(labels))))
        return MetaBatch(*on_device(self._device, inputs, labels), size)

    def state(self, upcoming: int) -> dict[str, Any]:
        if self._held is not None and self._held.update == upcoming:  # looked at, but not learnt from
            return dict(self._held.place)
        return {"passes": self._passes, "position": self._position}

    def load(self, state: dict[str, Any]) -> None:
        for name in ("passes", "position"):
            if type(state[name]) is not int or not 0 <= state[name] < 2**63:
                raise UserError(f"{name} of the meta set's state is {shown(state[name])}, but it must count up from 0")
        self._held = None
        with self._own_draws():
            self._begin(state["passes"])
            for _ in islice(self._batches, state["position"]):
                self._position += 1

    def _next(self) -> Any:
        with self._own_draws():
            for _ in range(2):
                for batch in self._batches:
                    self._position += 1
                    return batch
                self._begin(self._passes + 1)
        raise UserError("the meta loader gave no batch; it must hold trusted samples, and be one that can start again")

    def _begin(self, number: int) -> None:
        """The pass of this number; 0 is before the first."""
        torch.default_generator.manual_seed(_mixed(self._seed, self._exchange.rank, number))
        sampler = getattr(self._loader, "sampler", None)
        if isinstance(sampler, DistributedSampler):
            sampler.set_epoch(number)
        self._batches = iter(self._loader) if number else iter(())
        self._passes, self._position = number, 0

    @contextmanager
    def _own_draws(self) -> Iterator[None]:
        with untouched(self._device):
            torch.set_rng_state(self._random)
            yield
            self._random = torch.get_rng_state()
