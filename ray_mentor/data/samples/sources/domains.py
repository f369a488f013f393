"""Of which source each sample is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ray_mentor.data.samples.rows import Rows


@dataclass(frozen=True, eq=False)
class Domains:
    """Sources by name.

    Attributes:
        names: of them, each once.
        of: int64 (N,) in 0..len(names)-1, each sample's.
    """

    names: tuple[str, ...]
    of: Rows

    def select(self, rows: Rows) -> Domains:
        """Of those samples only, in that order."""
        return Domains(self.names, self.of[rows])

    @property
    def sizes(self) -> list[int]:
        """Samples of each."""
        sizes: list[int] = np.bincount(self.of, minlength=len(self.names)).tolist()
        return sizes

    @property
    def rows(self) -> list[Rows]:
        """The samples of each, in order."""
        return [np.flatnonzero(self.of == place) for place in range(len(self.names))]
