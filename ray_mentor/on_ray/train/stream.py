"""Work on parts of a data set as tasks of Ray Data, on whatever machines there are."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray import ObjectRef
from ray.data import DataContext, ExecutionResources, TaskPoolStrategy
from ray.data.read_api import from_blocks

from ray_mentor.data.samples.rows import Rows
from ray_mentor.data.storage.spread import Work
from ray_mentor.errors import UserError

_PIPELINE_PARTS = 256  # of one Ray Data pipeline; the next one starts when they are done, in a fraction of a second
ERROR = "user's error"
"""The column of a result that is one."""

_WAITING = 3  # results that may wait for whoever wants them
_LEAST_BYTES = 2**26  # that Ray Data gets in any case, not to stall on results of a few kilobytes


@dataclass(frozen=True)
class RayDataSpread:
    """A spread over tasks of Ray Data.

    The tasks ask for no CPU: the workers that wait for them may hold all there are, and would wait for ever. How many
    run at a time is bounded instead.

    Args:
        tasks: that run at a time.
    """

    tasks: int

    @classmethod
    def beside(cls, workers: int) -> RayDataSpread:
        """One worker's share of the CPUs that the workers leave free, and one task at least."""
        free = ray.cluster_resources().get("CPU", 0.0) - workers
        return cls(max(1, int(free // max(1, workers))))

    def __call__(self, work: Work, parts: Iterable[Rows], part_bytes: int) -> Iterator[pa.Table]:
        """See :class:`~ray_mentor.data.storage.spread.Spread`."""
        shared = ray.put(work)  # what it holds of every row goes to each machine once, not to each task
        remaining = iter(parts)
        while some := list(itertools.islice(remaining, _PIPELINE_PARTS)):
            yield from self._pipeline(shared, some, part_bytes)

    def _pipeline(self, work: ObjectRef[Work], parts: list[Rows], part_bytes: int) -> Iterator[pa.Table]:
        do: Any = _do  # Ray's annotations know of no further arguments
        with DataContext.current(in_order(part_bytes, self.tasks)):
            # not from_arrow: it counts the rows in a task that asks for a CPU
            blocks = from_blocks([pa.table({"row": part}) for part in parts])
            results = blocks.map_batches(
                do,
                fn_args=(work,),
                batch_size=None,
                batch_format="pyarrow",
                compute=TaskPoolStrategy(self.tasks),
                num_cpus=0,
            )
        tables: Any = results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
        for result in tables:
            if result.column_names == [ERROR]:
                raise UserError(result[ERROR][0].as_py())
            yield result


def in_order(part_bytes: int, tasks: int) -> DataContext:
    """A context in which results come in the order of the parts, in silence.

    Args:
        part_bytes: of a result, about; 0: they are small.
        tasks: that run at a time.
    """
    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1  # whoever wants the results may take as long as it likes
    context.execution_options.preserve_order = True
    if part_bytes:
        most = max(_LEAST_BYTES, (tasks + _WAITING) * part_bytes)
        context.execution_options.resource_limits = ExecutionResources.for_limits(object_store_memory=most)
        # One result is one block: a task that has made some waits until they are taken.
        context.target_max_block_size = max(context.target_max_block_size or 0, 2 * part_bytes)
    return context


def _do(part: pa.Table, work: ObjectRef[Work]) -> pa.Table:
    """A user's mistake comes as a result: of errors Ray Data prints a traceback, and forgets the kind."""
    try:
        return ray.get(work)(part["row"].to_numpy())
    except UserError as error:
        return pa.table({ERROR: [error.written]})
