"""What a mixture of many sources costs beside one of few, at the same number of probes in all.

    python benchmarks/costs/sources.py                    # 4 sources of 32 probes each, and 64 of 2
    python benchmarks/costs/sources.py --sources 4 16 64 --windows 40

A small byte GPT on random bytes, in loops of `LearnedMixture` with AdamW, of which each takes a window of 20 steps with
its one update in turn. CPU milliseconds of this process (one thread), medians over windows: of a whole window, and of
its update alone, from the end of the step to new shares.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from ray_mentor import LearnedMixture, MixtureConfig
from ray_mentor.core.losses.cross_entropy import sequence_cross_entropy
from ray_mentor.students.byte_gpt import ByteGPT

CONTEXT, ROWS, INTERVAL = 64, 200, 20
"""Bytes of a window of text, windows of a source, and steps of a window of shares."""


class Loop:
    """A loop on so many sources.

    Args:
        probes: of all sources together.
    """

    def __init__(self, sources: int, probes: int, batch: int, windows: int) -> None:
        torch.manual_seed(0)
        self.student = ByteGPT(context=CONTEXT, width=48, depth=2, heads=2)
        self.optimizer = torch.optim.AdamW(self.student.parameters(), 1e-3)
        settings = MixtureConfig(
            shares_interval=INTERVAL, shares_burn_in=0.0, probes=probes // sources, share_floor=0.1 / sources
        )
        made = {f"source {number}": _bytes(number) for number in range(sources)}
        steps = INTERVAL * windows
        self.mixture = LearnedMixture(
            self.student, self.optimizer, made, target=_bytes(-1), total_steps=steps, settings=settings
        )
        self._batches = self.mixture.batches(batch)

    def window(self) -> tuple[float, float]:
        """CPU seconds of the next window, and of its update."""
        began, update = time.process_time(), 0.0
        for _ in range(INTERVAL):
            batch = next(self._batches)
            losses = sequence_cross_entropy(self.student(batch.inputs), batch.labels)
            loss = self.mixture.weigh(losses, batch)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            stepped = time.process_time()
            if self.mixture.after_step() is not None:
                update = time.process_time() - stepped
        return time.process_time() - began, update


def _bytes(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    text = torch.randint(256, (ROWS, CONTEXT + 1), generator=torch.Generator().manual_seed(seed + 1))
    return text[:, :-1], text[:, 1:]


def medians(sources: list[int], probes: int, batch: int, windows: int) -> dict[int, tuple[float, float]]:
    """CPU seconds of a window and of its update, by the number of sources; the first window of each aside."""
    loops = {count: Loop(count, probes, batch, windows + 1) for count in sources}
    found = [{count: loop.window() for count, loop in loops.items()} for _ in range(windows + 1)][1:]
    return {
        count: (statistics.median(row[count][0] for row in found), statistics.median(row[count][1] for row in found))
        for count in sources
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", type=int, nargs="+", default=[4, 64], help="numbers of sources (default 4 64)")
    parser.add_argument("--probes", type=int, default=128, help="of all sources together (default 128)")
    parser.add_argument("--batch", type=int, default=16, help="samples of a step (default 16)")
    parser.add_argument("--windows", type=int, default=30, help="of each loop (default 30)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = medians(options.sources, options.probes, options.batch, options.windows)
    whole, alone = found[options.sources[0]]
    for count, (window, update) in found.items():
        print(f"{count:4} sources: window {1e3 * window:8.1f} ms ({100 * (window / whole - 1):+.1f} %), "
              f"update {1e3 * update:7.1f} ms ({100 * (update / alone - 1):+.1f} %)", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
