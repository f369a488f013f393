"""``ray-mentor report``: a run's page."""

from __future__ import annotations

import argparse

from ray_mentor.commands.arguments import add_run
from ray_mentor.errors import printable
from ray_mentor.extras import needing


def run(words: list[str]) -> None:
    """The command."""
    says = (
        "Writes RUN/report.html: one page, which needs neither network nor server, of how the run went, what its "
        "mentor did and which labels look wrong. The run may still be going on. At its end it writes one by itself."
    )
    parser = argparse.ArgumentParser(prog="ray-mentor report", description=says, allow_abbrev=False)
    add_run(parser)
    asked = parser.parse_args(words)
    with needing("ray", "ray-mentor report"):
        from ray_mentor.report.run.written import REPORT, write_report  # noqa: PLC0415
        from ray_mentor.run.directory import RunDirectory  # noqa: PLC0415

    directory = RunDirectory(asked.run)
    write_report(directory)
    print(printable(f"{directory.path}/{REPORT}"))
