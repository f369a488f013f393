"""Rank 0 is somebody else, who sends pickles where values are told; rank 1 is ours."""

from __future__ import annotations

import os
import pickle
import struct
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ray_mentor.core import exchange as exchanges
from ray_mentor.core.exchange import Ranks


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.file, "w")


def as_torch_does(exchange: Ranks, evil: Evil) -> None:
    """A size and a pickle, as ``broadcast_object_list`` sends them."""
    dist.broadcast_object_list([evil], src=0, group=exchange._group)


def in_our_form(kind: bytes, most: int = 1 << 40) -> Any:
    """A message whose head is right, and whose content is a pickle."""

    def send(exchange: Ranks, evil: Evil) -> None:
        data = pickle.dumps(evil)
        head = struct.pack("<cq", kind, min(len(data), most)) + data
        send_tensor(exchange, head.ljust(exchanges._HEAD, b"\0"))

    return send


def with_a_size(size: int) -> Any:
    def send(exchange: Ranks, evil: Evil) -> None:
        send_tensor(exchange, struct.pack("<cq", b"j", size).ljust(exchanges._HEAD, b"\0"))

    return send


def send_tensor(exchange: Ranks, data: bytes) -> None:
    dist.broadcast(torch.frombuffer(bytearray(data), dtype=torch.uint8), src=0, group=exchange._group)


ATTACKS: dict[str, Any] = {
    "as JSON": in_our_form(b"j"),
    "as bytes": in_our_form(b"b"),
    "of an unknown kind": in_our_form(b"p"),
    "of size -1": with_a_size(-1),
    "of size 2^62": with_a_size(1 << 62),
    "as torch does": as_torch_does,  # last: what is sent does not fit what is waited for, which may end the connection
}


def rank_main(rank: int, folder: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    exchange = Ranks(timedelta(seconds=20))
    said: dict[str, str] = {}
    for place, (name, attack) in enumerate(ATTACKS.items()):
        try:
            if rank == 0:
                attack(exchange, Evil(Path(folder) / f"executed-{place}"))
            else:
                said[name] = repr(exchange.broadcast(None))
        except Exception as error:
            said[name] = f"{type(error).__name__}: {error}"
    torch.save(said, Path(folder) / f"rank{rank}.pt")
    os._exit(0)  # a broken connection is not taken down in order
