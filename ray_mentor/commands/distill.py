"""``ray-mentor distill``: a rule of what a run's mentor said."""

from __future__ import annotations

from ray_mentor.commands.arguments import Parser
from ray_mentor.extras import needing

_SAYS = (
    "Makes a rule of what a run's mentor said of samples: a table of sample weights over the loss, in a file that "
    "can be read, which costs nothing to weigh by: ray-mentor train --method rule:FILE. It is the smallest of three "
    "whose R² lies within {within:g} of the best."
)


def run(words: list[str]) -> None:
    """The command."""
    with needing("ray", "ray-mentor distill"):
        from ray_mentor.core.mentor.rule import RULE_FILE  # noqa: PLC0415
        from ray_mentor.distill import distill  # noqa: PLC0415
        from ray_mentor.run.distilling.fit import CLOSE_ENOUGH  # noqa: PLC0415

    parser = Parser("ray-mentor distill", _SAYS.format(within=CLOSE_ENOUGH))
    parser.add_argument("runs", metavar="RUN", nargs="+", help="the folder of a run, e.g. runs/first, or several runs'")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help=f"where the rule goes; RUN/{RULE_FILE}, where the run's page shows it, if not said",
    )
    parser.add_argument(
        "--on", metavar="RUN", nargs="+", default=[], help="runs of other seeds, that the rule is held against"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="train students with the rule and without any, as those runs were (RUN, where there are none)",
    )
    asked = parser.asked(words)
    distill(asked.runs, asked.out, asked.on, verify=asked.verify)
