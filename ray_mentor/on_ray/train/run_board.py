"""What the driver of a run and its workers tell each other; in a file of its own, so that it needs no PyTorch."""

from __future__ import annotations

from ray_mentor.on_ray.session.metrics import RunMetrics
from ray_mentor.run.progress import ProgressBoard, Row


class RunBoard(ProgressBoard):
    """A board by which the driver can also tell its workers something: that it wants a checkpoint.

    It tells Ray's metrics of the run, too: it is there as long as the run, once, whichever workers come and go.
    """

    def __init__(self, run: str) -> None:
        super().__init__()
        self._trains = self._wished = False
        self._metrics = RunMetrics(run, lambda text: self.post({"kind": "note", "text": text}))

    def post(self, row: Row) -> None:
        super().post(row)
        self._metrics.row(row)
        if row["kind"] in ("started", "ended"):
            self._trains = row["kind"] == "started"

    def wish(self) -> bool:
        """Wishes for a checkpoint; False if nobody trains who could write one."""
        self._wished = self._trains
        return self._wished

    def is_wished(self) -> bool:
        """Whether a wish has not been fulfilled yet."""
        return self._wished

    def fulfil(self) -> None:
        """The checkpoint is written."""
        self._wished = False
