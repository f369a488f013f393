"""Three settings: what is in the pool, what training is for, and what it is measured on.

A: the target is drama, of which the pool has nothing: speeches, scripture in four languages, an encyclopedia, reviews,
Python code, and two sources that teach nothing, a list of words and speeches with their bytes in random order. B: the
average of four good sources, whose pool has these, two copies of all four with 10 % and 30 % of their bytes replaced at
random, and the same junk. C: A with 64 KB of drama in the pool, which come round many times.

What is chosen is chosen on the first half of the target's text and seeds 0 to 2, and reported on the second half and
seeds from 100 on.
"""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ray_mentor.data.readers.texts.windows import text_windows

TEXTS = Path(__file__).parents[3] / "shared" / "data" / "domains"
CONTEXT = 64
GOOD = ("drama", "speeches", "encyclopedia", "reviews")
JUNK = ("junk_wordlist", "junk_shuffled")
OTHERS = ("speeches", "scripture_en", "scripture_de", "scripture_fr", "scripture_sv", "encyclopedia", "reviews")
# fmt: off
MODULES = (
    "_pydecimal", "argparse", "ast", "calendar", "cgi", "codecs", "configparser", "contextlib", "csv",
    "dataclasses", "datetime", "difflib", "doctest", "enum", "fractions", "ftplib", "functools", "gettext",
    "heapq", "imaplib", "inspect", "ipaddress", "locale", "mailbox", "nntplib", "optparse", "os", "pathlib",
    "pdb", "pickle", "pickletools", "platform", "plistlib", "pydoc", "random", "selectors", "shutil", "smtplib",
    "socket", "sre_parse", "ssl", "statistics", "string", "subprocess", "tarfile", "tempfile", "textwrap",
    "threading", "tokenize", "traceback", "turtle", "typing", "uuid", "warnings", "weakref", "zipfile",
)
# fmt: on
"""Of Python's standard library; those that this one has."""

Text = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Pool:
    """What a run is given.

    Attributes:
        sources: by name, (inputs, labels).
        targets: trusted text, by name.
        tests: what is measured, by name; the mean over them counts.
    """

    sources: dict[str, Text]
    targets: dict[str, Text]
    tests: dict[str, Text]


def pool_of(setting: str, seed: int, *, final: bool, texts: Path = TEXTS) -> Pool:
    """Of A, B or C, by seed.

    Args:
        final: whether it is the second half of the target's text.
    """
    draw = np.random.default_rng([seed, int(final)])
    if setting == "B":
        parts = {name: _parts(_read(texts, name), draw, final, (6_000, 25_000)) for name in GOOD}
        rests = {name: rest for name, (_, _, rest) in parts.items()}
        whole = b"".join(rests.values())
        sources = {**rests, "corrupted_10": _corrupted(whole, 0.1, draw), "corrupted_30": _corrupted(whole, 0.3, draw)}
        trusted, tests = ({name: part[place] for name, part in parts.items()} for place in (0, 1))
    else:
        kept, test, rest = _parts(_read(texts, "drama"), draw, final, (20_000, 100_000))
        sources = {name: _read(texts, name) for name in OTHERS} | {"code": _code()}
        if setting == "C":
            sources["drama"] = rest[:64_000]
        trusted, tests = {"drama": kept}, {"drama": test}
    sources |= {
        "junk_wordlist": _read(texts, "junk_wordlist"),
        "junk_shuffled": _shuffled(_read(texts, "speeches"), draw),
    }
    cut = [{name: text_windows(text, CONTEXT) for name, text in of.items()} for of in (sources, trusted, tests)]
    return Pool(*cut)


def _parts(text: bytes, draw: np.random.Generator, final: bool, sizes: tuple[int, int]) -> tuple[bytes, bytes, bytes]:
    """Trusted text, test text, both of one half of it and drawn in blocks of 2 KB, and the rest of both halves."""
    block, half = 2_000, len(text) // 2
    own, other = (text[half:], text[:half]) if final else (text[:half], text[half:])
    blocks = [own[place : place + block] for place in range(0, len(own) - block, block)]
    order = [blocks[place] for place in draw.permutation(len(blocks))]
    first, second = sizes[0] // block, sizes[1] // block
    trusted, test, rest = order[:first], order[first : first + second], order[first + second :]
    return b"".join(trusted), b"".join(test), b"".join(rest) + other


def _read(texts: Path, name: str) -> bytes:
    return (texts / f"{name}.txt").read_bytes()


def _code() -> bytes:
    library = Path(sysconfig.get_path("stdlib"))
    return b"".join(path.read_bytes() for path in (library / f"{name}.py" for name in MODULES) if path.exists())


def _shuffled(text: bytes, draw: np.random.Generator) -> bytes:
    return draw.permutation(np.frombuffer(text, np.uint8)).tobytes()


def _corrupted(text: bytes, share: float, draw: np.random.Generator) -> bytes:
    values = np.frombuffer(text, np.uint8).copy()
    wrong = draw.random(len(values)) < share
    values[wrong] = draw.integers(256, size=int(wrong.sum()))
    return values.tobytes()


def stacked(texts: dict[str, Text]) -> Text:
    """All windows, one after the other."""
    inputs, labels = zip(*texts.values(), strict=True)
    return torch.cat(inputs), torch.cat(labels)
