"""Which samples a student was trained on, by what they hold: copies are found anywhere, whatever they are called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ray_mentor.data.samples.inputs import DIGEST_BYTES, AbstractArrayInputs
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.texts.inputs import TextInputs
from ray_mentor.errors import UserError
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.trained.files import TRAINED_ON

Fingerprints = NDArray[np.uint64]

_STORED = np.dtype("<u8")


def fingerprints(digests: NDArray[np.bytes_]) -> Fingerprints:
    """(N,): the first 8 bytes of each content hash. Of a million samples and a million others, different in content,
    two have the same with a probability of 5e-8.
    """
    return (
        np.frombuffer(digests.tobytes(), _STORED).reshape(-1, DIGEST_BYTES // _STORED.itemsize)[:, 0].astype(np.uint64)
    )


@dataclass(frozen=True, eq=False)
class TrainedOn:
    """The samples that a student was trained on, the trusted ones too.

    Attributes:
        known: sorted.
    """

    known: Fingerprints

    @staticmethod
    def of(samples: Iterable[Samples]) -> TrainedOn | None:
        """None where a data set of the user's own gives them: what it gives may be drawn anew each time."""
        inputs = [each.inputs for each in samples if len(each)]
        arrays = [each for each in inputs if isinstance(each, AbstractArrayInputs | TextInputs)]
        if len(arrays) < len(inputs):
            return None
        found = (fingerprints(each.content_hashes()) for each in arrays)
        return TrainedOn(np.unique(np.concatenate([np.zeros(0, np.uint64), *found])))

    def has(self, content: Fingerprints) -> NDArray[np.bool_]:
        """Whether each is one of them."""
        if len(self.known) == 0:
            return np.zeros(len(content), np.bool_)
        places = np.searchsorted(self.known, content)
        found: NDArray[np.bool_] = self.known[np.minimum(places, len(self.known) - 1)] == content
        return found

    def to_bytes(self) -> bytes:
        """As the run's folder holds them: 8 bytes each, the least significant first."""
        return self.known.astype(_STORED).tobytes()

    @staticmethod
    def read(directory: RunDirectory) -> TrainedOn | None:
        """None where the run left nothing of them.

        Raises:
            UserError: damage.
        """
        written = directory.read(TRAINED_ON)
        if written is None:
            return None
        whole = len(written) % _STORED.itemsize == 0
        known = np.frombuffer(written, _STORED).astype(np.uint64) if whole else None
        if known is None or (known[1:] <= known[:-1]).any():
            raise UserError(f"{directory.path}/{TRAINED_ON} is damaged; put it back, or remove it")
        return TrainedOn(known)
