"""A run's page, written into its folder."""

from __future__ import annotations

from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import UserError
from ray_mentor.extras import needing
from ray_mentor.run.audit.audit import Audit
from ray_mentor.run.directory import RunDirectory

REPORT = "report.html"
"""In the run's folder."""

MOST_ROWS = 5_000_000
"""Of a ledger that is drawn at the end of a run; of a larger one when it is asked for."""


def write_report(
    directory: RunDirectory,
    *,
    samples: Samples | None = None,
    ended: str | None = None,
    most_rows: int | None = None,
    audit: Audit | None = None,
) -> None:
    """Writes it; arguments and errors are :func:`~ray_mentor.report.run.page.page`'s.

    Raises:
        MissingExtraError: plotly is not installed.
    """
    with needing("ray", f"{REPORT} of a run"):
        from ray_mentor.report.run.page import page  # noqa: PLC0415 - a run does not need plotly
    directory.write(REPORT, page(directory, samples=samples, ended=ended, most_rows=most_rows, audit=audit).encode())


def report_at_end(
    directory: RunDirectory, samples: Samples, *, ended: str | None = None, audit: Audit | None = None
) -> str | None:
    """Writes it as a run ends, whatever befell it; what there is to say where it can't be: a page ends no run."""
    try:
        write_report(directory, samples=samples, ended=ended, most_rows=MOST_ROWS, audit=audit)
    except Exception as error:
        why = error.written if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return f"no {REPORT} was written ({why}); the run is whole without it, and ray-mentor report RUN makes one"
    return None
