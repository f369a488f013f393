"""Which runs of an earlier call count, and that they are the runs that this one would make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ray_mentor.comparison.cells import Cell
from ray_mentor.comparison.measured import Place
from ray_mentor.config.meaning import with_loss_named
from ray_mentor.on_ray.tune.listed import RUNS
from ray_mentor.on_ray.tune.resumed import digest
from ray_mentor.on_ray.tune.trial import last_state, newest_run
from ray_mentor.run.checkpoint.resume import Identity, check_same_run
from ray_mentor.run.directory import RESULT, RunDirectory


def finished(
    cells: Sequence[Cell], directory: RunDirectory, identities: Mapping[str, Identity], *, as_described: bool
) -> dict[str, Place]:
    """The runs that an earlier call has finished, by their digests.

    Those of the first seed are looked at: data that were written anew, or a function that makes other trainers than it
    did, would make a table of runs that have not the same means. (Splits of other seeds are others of the same data.)

    Args:
        directory: of the comparison.
        identities: of the runs at the first seed, by their digests.
        as_described: settings say all that runs are.

    Raises:
        UserError: one that was another run than it is now; the message says by what.
    """
    done: dict[str, Place] = {}
    for cell in cells:
        name = digest(cell.config)
        run = newest_run(f"{directory.path}/{RUNS}", name)
        if name in done or run.size(RESULT) is None:
            continue
        if as_described:
            check_same_run(with_loss_named(cell.config).flat(), run)
        if name in identities:
            identities[name].check(run, last_state(run, cell.config.run.epochs))
        done[name] = run
    return done
