"""What a trained student says of new inputs, by workers of Ray Data: batch inference on whatever machines there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import ray
import torch
from ray.data import ActorPoolStrategy, DataContext
from ray.data.read_api import from_blocks

from ray_mentor.data.readers.new.known import AbstractSource
from ray_mentor.errors import UserError
from ray_mentor.on_ray.session.growth import Needs
from ray_mentor.on_ray.session.session import named_address, ray_session
from ray_mentor.on_ray.train.stream import ERROR, in_order
from ray_mentor.run.trained.predictions import Stretch, predictions, stretches
from ray_mentor.run.trained.student import Packed

_EACH = 8  # stretches of rows a worker gets, so that one that is slow holds up few
_LEAST = 1024  # rows of a stretch: what reads them may have to read what lies before them, too


def workers_for(asked: int | None, *, gpu: bool) -> int:
    """Of ``--workers``: None is auto. 0: this process predicts.

    On one machine PyTorch and the decoder of images take all cores from one process; a cluster gets a worker a CPU, and
    several GPUs one each.
    """
    if asked is not None:
        return asked
    if named_address() is None and not ray.is_initialized():
        here = torch.cuda.device_count()
        return here if gpu and here > 1 else 0
    return _ALL


_ALL = -1


def predicted(
    student: Packed,
    source: AbstractSource,
    count: int,
    batch_size: int,
    workers: int,
    *,
    gpu: bool = False,
    every: bool = False,
    content: bool = False,
) -> Iterator[pa.Table]:
    """A row an input, in order, as :func:`~ray_mentor.run.trained.predictions.predictions` gives them.

    Args:
        student: made anew by each worker, once.
        source: of ``count`` inputs; each worker reads its own.
        batch_size: passed through the student at a time.
        workers: as :func:`workers_for` says; each takes a CPU.
        gpu: and a GPU.
        every: also the probability of each class.
        content: and a fingerprint of the input.

    Raises:
        UserError: what can't be read, a student whose outputs are no logits, or too few CPUs or GPUs.
    """
    kind = "GPU" if gpu else "CPU"
    each = {"CPU": 1.0, "GPU": 1.0} if gpu else {"CPU": 1.0}
    with ray_session(Needs(each, max(workers, 1)), verbose=False):
        if workers == _ALL:
            workers = max(1, int(ray.cluster_resources().get(kind, 1.0)))
        rows = max(_LEAST, -(-count // (_EACH * workers)))
        blocks = [pa.table({"start": [part.start], "stop": [part.stop]}) for part in stretches(count, rows)]
        told = ray.put((student, source, batch_size, gpu, every, content))
        worker: Any = _Worker  # Ray's annotations know of no further arguments
        with DataContext.current(in_order(0, len(blocks))):
            results = from_blocks(blocks).map_batches(
                worker,
                fn_constructor_args=(told,),
                batch_size=None,
                batch_format="pyarrow",
                compute=ActorPoolStrategy(size=min(workers, len(blocks))),
                num_cpus=1,
                num_gpus=1 if gpu else 0,
            )
        tables: Any = results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
        for table in tables:
            if table.column_names == [ERROR]:
                raise UserError(table[ERROR][0].as_py())
            yield table


class _Worker:
    """Holds the student, and goes through stretches of rows."""

    def __init__(self, told: Any) -> None:
        packed, self._source, self._batch_size, gpu, self._every, self._content = ray.get(told)
        self._student = packed.made()
        if gpu:
            self._student.module.cuda()

    def __call__(self, part: pa.Table) -> Iterator[pa.Table]:
        """A user's mistake comes as a result: of errors Ray Data prints a traceback, and forgets the kind."""
        (row,) = part.to_pylist()
        stretch = Stretch(row["start"], row["stop"])
        try:
            told = {"every": self._every, "content": self._content}
            found = list(predictions(self._student, self._source, stretch, self._batch_size, **told))
        except UserError as error:
            found = [pa.table({ERROR: [error.written]})]
        yield pa.concat_tables(found)
