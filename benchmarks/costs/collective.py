"""What share of a step its one collective takes: the most that overlapping it with the student's passes could bring.

    python benchmarks/costs/collective.py                          # two ranks here, by gloo
    python benchmarks/costs/collective.py --student resnet32 --batch 64

Each rank trains its share with `LearnedCurriculum` under data parallelism, and beside that sends the same message as a
step does, after a barrier, so that no rank waits for one that is late. Milliseconds are medians of wall time of rank 0,
of steps and messages in turn. The weights are what the backward pass begins with (its first product is ŵ_i·∂ℓ_i/∂z_i,
and what it sums behind that no longer tells samples apart), so that only the forward pass, which makes the losses, is
left to overlap with.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import time
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn import functional as F

from ray_mentor import CurriculumConfig, LearnedCurriculum, MentorConfig
from ray_mentor.core.exchange import Ranks
from ray_mentor.students import make_student

COLUMNS = 6
"""Of a step's message: loss, given and predicted class, id, truth, whether it is trusted."""


def rank_main(rank: int, options: argparse.Namespace, port: int) -> None:
    """One rank's steps and messages; rank 0 prints what they took."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=options.ranks)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = (64,) if options.student == "mlp" else (3, 32, 32)
    student = nn.parallel.DistributedDataParallel(make_student(options.student, shape, 10))
    optimizer = torch.optim.SGD(student.parameters(), 0.01, 0.9, nesterov=True)
    inputs, labels = torch.randn(options.batch, *shape), torch.arange(options.batch) % 10
    exchange = Ranks()
    curriculum = LearnedCurriculum(
        student, optimizer, (torch.randn(100, *shape), torch.arange(100) % 10), total_steps=10**6, n_classes=10,
        curriculum=CurriculumConfig(burn_in=0.0), mentor=MentorConfig(update_interval=10**5), exchange=exchange,
    )  # fmt: skip

    def step() -> None:
        outputs = student(inputs)
        losses = F.cross_entropy(outputs, labels, reduction="none")
        loss = curriculum.weigh(losses, labels=labels, outputs=outputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curriculum.after_step()

    rows, sizes = torch.randn(options.batch, COLUMNS, dtype=torch.float64), (options.batch,) * options.ranks

    def seconds(what: Callable[[], object]) -> float:
        exchange.wait_for_all()
        began = time.perf_counter()
        what()
        return time.perf_counter() - began

    for _ in range(3):
        step()
    times = [(seconds(step), seconds(lambda: exchange.gather(rows, sizes))) for _ in range(options.pairs)]
    if rank == 0:
        whole, message = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
        print(f"{options.student:9} {options.batch:4} a rank: step {whole:8.2f} ms, message {message:6.3f} ms, "
              f"{100 * message / whole:.2f} %", flush=True)  # fmt: skip
    curriculum.close()
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", choices=("mlp", "cnn", "resnet32"), default="mlp")
    parser.add_argument("--batch", type=int, default=64, help="samples of a rank (default 64)")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=60, help="of steps and messages (default 60)")
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(rank_main, (options, port), nprocs=options.ranks)


if __name__ == "__main__":
    main()
