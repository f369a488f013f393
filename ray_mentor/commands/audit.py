"""``ray-mentor audit``: which labels of a run look wrong."""

from __future__ import annotations

from ray_mentor.commands.arguments import Parser, add_run
from ray_mentor.errors import UserError

_FILES = {
    "export-weights": "a weight in [0, 1] of each sample, for any trainer",
    "clean": "ids and labels without the samples whose labels look wrong",
    "relabelled": "ids and labels of all, with the suggested label where the given one looks wrong",
}


def run(words: list[str]) -> None:
    """The command."""
    says = (
        "Says which given labels of a run's training samples look wrong, the most suspicious first, what they should "
        "be, and how many there are. RUN/audit.csv and RUN/audit.parquet have it all. The run may still be going on."
    )
    parser = Parser("ray-mentor audit", says)
    add_run(parser)
    parser.add_argument("--top", type=int, default=50, help="how many samples are shown (default: 50)")
    for name, what in _FILES.items():
        parser.add_argument(f"--{name}", metavar="FILE", help=f"{what} (.csv or .parquet)")
    parser.add_argument("--duplicates", action="store_true", help="also look for samples that are there more than once")
    asked = parser.asked(words)
    if asked.top < 1:
        raise UserError(f"top is {asked.top}, but it must be at least 1")
    from ray_mentor.report.audited import audit_run  # noqa: PLC0415

    files = {"weights": asked.export_weights, "clean": asked.clean, "relabelled": asked.relabelled}
    audit_run(asked.run, asked.top, **files, duplicates=asked.duplicates)
