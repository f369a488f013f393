"""``ray-mentor pick``: samples to be checked by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ray_mentor.commands.arguments import Parser
from ray_mentor.extras import needing

if TYPE_CHECKING:
    from ray_mentor.config import TrainConfig

_SAYS = (
    "Draws samples whose labels are to be checked by hand, the classes in balance, into a file with a column to fill "
    "in, and says how to train with it. Of a data set they are drawn at random; of an earlier run the classes are "
    "those that it suggests, and scores of all sizes are there. Options of ray-mentor train that say what the data are "
    "(--label-column ...) go with a data set."
)


def run(words: list[str], parsed: Callable[[list[str]], TrainConfig]) -> None:
    """The command.

    Args:
        parsed: makes settings of options of ``ray-mentor train``.
    """
    parser = Parser("ray-mentor pick", _SAYS)
    parser.add_argument("source", metavar="RUN_OR_DATA", help="a run's folder, or data as --data of train names it")
    parser.add_argument("--count", type=int, default=200, help="how many samples (default: 200)")
    parser.add_argument("--out", metavar="FILE", required=True, help="where they go, e.g. ids.csv (.csv or .parquet)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random (default: 0)")
    asked, options = parser.asked_beside(words)
    with needing("ray", "ray-mentor pick"):
        from ray_mentor.report.picked import pick  # noqa: PLC0415

    pick(asked.source, asked.count, asked.out, asked.seed, options, parsed)
