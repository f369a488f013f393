"""Who listens where: the processes below one, and their listening sockets, as Linux tells of them."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LISTENS = "0A"


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket.

    Attributes:
        process: the command line of its owner.
        address: that it listens on; the unspecified one for all interfaces.
        port: its number.
    """

    process: str
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether nobody outside this machine can reach it."""
        mapped = getattr(self.address, "ipv4_mapped", None)
        return (mapped or self.address).is_loopback


def below(root: int) -> list[int]:
    """A process and all that it started, whoever of them started whom."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:  # it has ended
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found, rest = [], [root]
    while rest:
        found.append(rest.pop())
        rest += children.get(found[-1], [])
    return found


def listeners(pids: list[int]) -> list[Listener]:
    """Every listening TCP socket of these processes."""
    return [listener for pid in pids for listener in _of(pid, _all_listening())]


def _of(
    pid: int, listening: dict[str, tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]
) -> Iterator[Listener]:
    process = Path(f"/proc/{pid}")
    try:
        name = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        links = [os.readlink(file) for file in (process / "fd").iterdir()]
    except OSError:
        return
    for link in set(links):
        match = re.fullmatch(r"socket:\[(\d+)\]", link)
        if match and match[1] in listening:
            yield Listener(name, *listening[match[1]])


def _all_listening() -> dict[str, tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """Inode to (address, port)."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == LISTENS:
                address, port = columns[1].split(":")
                found[columns[9]] = (_address(address), int(port, 16))
    return found


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The kernel writes addresses in words of 32 bits in the machine's byte order."""
    words = [bytes.fromhex(text[place : place + 8])[::-1] for place in range(0, len(text), 8)]
    return ipaddress.ip_address(b"".join(words))
