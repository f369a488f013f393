"""Two ranks at the end of an epoch, whose gate is held for longer than a rank waits for another."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from ray_mentor.core.exchange import Ranks
from ray_mentor.on_ray.train.gate import Gate, passed

SILENCE = 5.0  # seconds after which a rank takes the others for dead; a machine may have much else to do
HELD = 1.5 * SILENCE


def rank_main(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    exchange = Ranks(timedelta(seconds=SILENCE))
    gate = Gate()
    saved = 0

    def save() -> None:
        nonlocal saved
        saved += 1

    def let_it_go_on() -> None:
        time.sleep(HELD)
        gate.wish_save()
        time.sleep(1.0)
        gate.let_pass(1)

    threading.Thread(target=let_it_go_on).start()
    began = time.monotonic()
    goes_on = passed(gate if rank == 0 else Gate(), 1, exchange, save)
    torch.save(
        {"goes on": goes_on, "seconds": time.monotonic() - began, "saved": saved}, Path(folder) / f"rank{rank}.pt"
    )
    dist.destroy_process_group()
