"""Plain text, in a file or in a folder of files, as samples: windows of bytes, and the bytes that follow each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from ray_mentor.config import DataConfig
from ray_mentor.config.groups.data import BUILT_IN
from ray_mentor.data.memory import require_memory
from ray_mentor.data.readers.formats.part import reading
from ray_mentor.data.readers.formats.splits import split_of
from ray_mentor.data.readers.formats.which import is_data
from ray_mentor.data.readers.places import Listing, contents, stamp
from ray_mentor.data.readers.raw import Raw
from ray_mentor.data.readers.texts.windows import CONTEXT, windows_of
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.samples.texts.plain import ByteInputs
from ray_mentor.errors import UserError, listed, shown
from ray_mentor.wording import counted

MEANINGLESS = (
    "label_column", "image_column", "text_column", "image_size", "skip_broken", "feature_columns", "ignore_columns",
    "keep_columns", "id_column", "true_label_column", "noise", "imbalance", "meta_ids", "meta_column", "clean_test",
    "augment", "data_backend",
)  # fmt: skip
"""Settings of labels, columns and images, and of how these are held: a text has none, and lies in memory as it is."""


def read_plain(config: DataConfig) -> Raw:
    """Reads a file or folder; a folder that holds ``train*`` has its splits by name, else all of it is one text.

    Where there is no test split, the last ``test_share`` of the windows are: a text's next words are not known from
    those around them.

    Raises:
        UserError: settings that mean nothing of text; files that can't be read, or hold no window.
    """
    splits, notes = _splits(Listing.of(config.data))
    found: dict[str, Samples] = {}
    for split, files in splits.items():
        if files:
            found[split], told = _samples(files, config, sum(map(len, found.values())))
            notes += told
    if "test" not in found:
        found |= _with_test(found.pop("train"), config, notes)
    sizes = ", ".join(f"{split} {len(samples):,}" for split, samples in found.items())
    size, count = config.max_tokens or CONTEXT, sum(len(files) for files in splits.values())
    what = f"plain text, {counted(count, 'file')}"
    return Raw(
        found["train"],
        found.get("test"),
        found.get("validation"),
        fit_scale=False,
        notes=tuple(notes),
        understood=f"data: {config.data} ({what}); {sizes} windows of {size} bytes",
    )


def read_plain_target(config: DataConfig) -> tuple[Samples, list[str]]:
    """Reads ``config.meta_data``, all of it, and what the user should be told of it.

    Raises:
        UserError: as :func:`read_plain`.
    """
    assert config.meta_data is not None
    if not is_data(config.meta_data):
        raise UserError(
            f"meta_data is {shown(config.meta_data)}, but there is no such file or folder; give a path to plain text"
        )
    return read_plain_whole(config.meta_data, config)


def read_plain_whole(location: str, config: DataConfig) -> tuple[Samples, list[str]]:
    """Reads all of a file or folder, and what the user should be told of it.

    Raises:
        UserError: nothing there, or what holds no window.
    """
    listing = Listing.of(location)
    if not listing.names:
        raise UserError(f"no file at {location!r}; name a file of plain text, or a folder of such")
    samples, told = _samples([(listing, name) for name in listing.names], config, 0)
    return samples, [f"{location}: {note}" for note in told]


def check_plain(config: DataConfig) -> None:
    """Refuses what text has not.

    Raises:
        UserError: naming the setting.
    """
    if config.data in BUILT_IN:
        raise UserError(
            f"format is 'text', but {config.data} is a data set that is known by its name; give --data PATH, a file or "
            "folder of plain text"
        )
    defaults = DataConfig()
    for name in MEANINGLESS:
        value = getattr(config, name)
        if value not in (getattr(defaults, name), "none"):
            raise UserError(
                f"{name} is {shown(value)}, but plain text (format 'text') has neither labels nor columns nor images, "
                "and is held in memory as it is; leave it out"
            )


Files = Sequence[tuple[Listing, str]]


def _splits(listing: Listing) -> tuple[dict[str, list[tuple[Listing, str]]], list[str]]:
    names = {name: PurePosixPath(name).parts[0] for name in listing.names}
    by_name = not listing.is_file and any(split_of(first) == "train" for first in names.values())
    splits: dict[str, list[tuple[Listing, str]]] = {"train": [], "validation": [], "test": []}
    others = []
    for name, first in names.items():
        split = split_of(first) if by_name else "train"
        if split is None:
            others.append(name)
        else:
            splits[split].append((listing, name))
    if not splits["train"]:
        raise UserError(f"no file at {listing.location!r}; name a file of plain text, or a folder of such")
    notes = []
    if others:
        notes.append(f"left out {counted(len(others), 'file')} named neither train*, test* nor valid*: {_few(others)}")
    if splits["validation"] and not splits["test"]:
        splits["test"], splits["validation"] = splits["validation"], []
        notes.append("no test* files: the valid* files are the test split")
    return splits, notes


def _samples(files: Files, config: DataConfig, first_id: int) -> tuple[Samples, list[str]]:
    """Windows of each file, one file behind the other, and what there is to say of the files."""
    context = config.max_tokens or CONTEXT
    places = [listing.file(name) for listing, name in files]
    with reading(places[0], "plain text"):
        size = sum(stamp(place)[0] for place in places)
        require_memory(3 * size, "the texts, which are held in memory", "give fewer")
        texts = contents(places)
    is_one, small, binary, odd = len(files) == 1, [], [], []
    parts, names = [], []
    for (_, name), place, text in zip(files, places, texts, strict=True):
        if not is_one and b"\0" in text[:_HEAD]:
            binary.append(name)
            continue
        if not is_one and len(text) <= context:
            small.append(name)
            continue
        parts.append(windows_of(text, str(place), context))
        names += [f"{name}:{number}" for number in range(len(parts[-1][0]))] if not is_one else []
        odd += [] if _is_utf8(text) else [name]
    location = files[0][0].location
    if not parts:
        raise UserError(
            f"none of the {len(files)} files at {location!r} is text that fills a window of {context + 1} bytes; give "
            "longer texts"
        )
    inputs, targets = (np.concatenate(each) if len(parts) > 1 else each[0] for each in zip(*parts, strict=True))
    ids = np.arange(first_id, first_id + len(inputs))
    strings = pa.array(names, pa.large_string()) if names else None
    return Samples.of_targets(ByteInputs(inputs), ids, targets, strings), _told(small, binary, odd, context)


_HEAD = 8192  # bytes in which a NUL makes a file no text, as grep has it


def _told(small: Sequence[str], binary: Sequence[str], odd: Sequence[str], context: int) -> list[str]:
    told = []
    if small:
        told.append(
            f"left out {counted(len(small), 'file')} of less than a window ({context + 1} bytes): {_few(small)}"
        )
    if binary:
        told.append(f"left out {counted(len(binary), 'file')} of bytes that are no text: {_few(binary)}")
    if odd:
        told.append(f"no UTF-8: {_few(odd)}; that is fine, for bytes are what is learnt")
    return told


def _few(names: Sequence[str]) -> str:
    return listed(names, _SHOWN)


_SHOWN = 5


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _with_test(train: Samples, config: DataConfig, notes: list[str]) -> dict[str, Samples]:
    """The text, and its last windows as a test split."""
    count = min(max(1, round(config.test_share * len(train))), len(train) - 1)
    if count < 1:
        return {"train": train}
    notes.append(
        f"no test split: the last {count:,} of {len(train):,} windows were held out as one (test_share "
        f"{config.test_share:g})"
    )
    rows = np.arange(len(train))
    return {"train": train.select(rows[:-count]), "test": train.select(rows[-count:])}
