"""``ray-mentor report``: a run's page."""

from __future__ import annotations

from ray_mentor.commands.arguments import Parser, add_run
from ray_mentor.errors import printable
from ray_mentor.extras import needing


def run(words: list[str]) -> None:
    """The command."""
    says = (
        "Writes RUN/report.html: one page, which needs neither network nor server, of how the run went, what its "
        "mentor did and which labels look wrong. The run may still be going on. At its end it writes one by itself."
    )
    parser = Parser("ray-mentor report", says)
    add_run(parser)
    asked = parser.asked(words)
    with needing("ray", "ray-mentor report"):
        from ray_mentor.report.run.written import REPORT, write_report  # noqa: PLC0415
        from ray_mentor.run.directory import RunDirectory, inside  # noqa: PLC0415

    directory = RunDirectory(asked.run)
    write_report(directory)
    print(printable(f"{inside(directory.path, REPORT)}"))
