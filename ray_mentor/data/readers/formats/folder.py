"""A folder of images with a folder for each class, as torchvision's ImageFolder reads it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from ray_mentor.data.readers.formats.listed import ListedImages
from ray_mentor.data.readers.formats.part import digest
from ray_mentor.data.readers.formats.splits import SplitParts, with_test
from ray_mentor.data.readers.places import Listing, is_uri
from ray_mentor.errors import UserError, listed

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
"""Endings of what can be decoded."""

KIND = "a folder of images"
_ID, _LABEL, _IMAGE = "sample_id", "label", "image"
_SHOWN = 5  # names in a message
_SPLIT_DEPTH = 3  # parts of SPLIT/CLASS/NAME


def image_folder(listing: Listing, *, whole: bool = False) -> SplitParts:
    """A class a folder; with a folder a split above them, where there is a ``train*`` among those.

    The sample id is the path relative to the folder, and the class what comes first in it. One folder that holds all
    there is (as archives have it) is passed by.

    Args:
        whole: all of it is one split, whatever the names.

    Raises:
        UserError: no class folder, an empty one, or no training split.
    """
    images = listing.ending(*IMAGES)
    top = _top(images)
    if not any(_folders(name, top) for name in images):
        raise UserError(
            f"{listing.location!r} holds {len(images)} images, but no class folders; put each image into a folder that "
            "is called as its label (cat/1.jpg), or list paths and labels in a CSV file"
        )
    in_splits = any(_in_split(name, top) for name in images)
    depth = len(top) + (1 if in_splits else 0)
    split = {name: _split_of(name.split("/")[len(top)]) if in_splits else "train" for name in images}
    kept = {name: "train" if whole else split[name] for name in images if split[name] and name.count("/") >= depth + 1}
    by_split = {part: [name for name in images if kept.get(name) == part] for part in ("train", "validation", "test")}
    if not by_split["train"]:
        raise UserError(
            f"{listing.location!r} holds no training split, only the folders "
            f"{listed(sorted({name.split('/')[len(top)] for name in images}))}; call one of them train"
        )
    notes = [*_left_out(listing, images, kept), *_empty(listing, by_split, top, in_splits=in_splits)]
    parts = {part: (_part(listing, names, depth),) if names else () for part, names in by_split.items()}
    found = with_test(parts["train"], parts["validation"], parts["test"], notes, "val* is the test split")
    return SplitParts(
        found.train,
        found.validation,
        found.test,
        found.notes,
        f"{KIND}, {len(kept):,} files",
        {"label_column": _LABEL, "image_column": _IMAGE, "id_column": _ID},
    )


_SPLITS = {
    split: re.compile(rf"({names})(?![a-z]).*", re.IGNORECASE)
    for split, names in (("train", "train(ing)?"), ("test", "test(ing)?"), ("validation", "val(id(ation)?)?"))
}
"""Folders of splits; a class may well be called trainers."""


def _split_of(folder: str) -> str | None:
    return next((split for split, named in _SPLITS.items() if named.fullmatch(folder)), None)


def has_classes(listing: Listing) -> bool:
    """Whether there are images in folders."""
    return any("/" in name for name in listing.ending(*IMAGES))


def sorted_by_class(listing: Listing) -> bool:
    """Whether images lie in two folders or more that are no splits, and so may be classes."""
    images = listing.ending(*IMAGES)
    top = _top(images) if images else []
    depth = len(top) + any(_in_split(name, top) for name in images)
    folders = {name.split("/")[depth] for name in images if name.count("/") > depth}
    return sum(_split_of(folder) is None for folder in folders) > 1


def test_images(listing: Listing) -> list[str]:
    """Those of the test split of a folder that is sorted into splits, however they lie there; else of its validation
    split; none where nothing is called ``train*``.
    """
    images = listing.ending(*IMAGES)
    top = _top(images)
    if not any(_in_split(name, top) for name in images):
        return []
    split = {name: _split_of(name.split("/")[len(top)]) for name in images if _folders(name, top)}
    if "train" not in split.values():
        return []
    return next(filter(None, ([n for n in images if split.get(n) == part] for part in ("test", "validation"))), [])


def _top(images: Sequence[str]) -> list[str]:
    """Folders that hold all there is, one in the other."""
    top: list[str] = []
    while True:
        below = {name.split("/")[len(top)] for name in images}
        if len(below) != 1 or any(name.count("/") <= len(top) + 1 for name in images):
            return top
        top.append(below.pop())


def _folders(name: str, top: Sequence[str]) -> int:
    return name.count("/") - len(top)


def _in_split(name: str, top: Sequence[str]) -> bool:
    """Whether it lies as SPLIT/CLASS/NAME does; a folder with images right in it is a class, whatever it is called."""
    parts = name.split("/")[len(top) :]
    return len(parts) >= _SPLIT_DEPTH and _split_of(parts[0]) is not None


def _part(listing: Listing, names: Sequence[str], depth: int) -> ListedImages:
    paths = pa.array(names, pa.large_string())
    labels = pa.array([name.split("/")[depth] for name in names], pa.string()).dictionary_encode()
    place = listing.location if is_uri(listing.location) else Path(listing.location)
    return ListedImages(
        place,
        pa.table({_ID: paths, _LABEL: labels}),
        place,
        paths,
        _IMAGE,
        KIND,
        alone=True,
        stamp=_stamp(listing, names),
    )


def _stamp(listing: Listing, names: Sequence[str]) -> str | None:
    """Of all of them; a far file system has told it already."""
    if not listing.stamps:
        return None
    return digest(repr([(name, listing.stamps[name]) for name in names]).encode())


def _left_out(listing: Listing, images: Sequence[str], kept: dict[str, str | None]) -> list[str]:
    notes = []
    if stray := [name for name in images if name not in kept]:
        notes.append(f"left out {len(stray)} images that are in no class folder of a split: {listed(stray, _SHOWN)}")
    return [*notes, *no_images(listing)]


def no_images(listing: Listing) -> list[str]:
    """What to say of files that are none by name, and of folders that are passed over."""
    notes = []
    if others := sorted(set(listing.names) - set(listing.ending(*IMAGES))):
        notes.append(f"left out {len(others)} files that are no images by name: {listed(others, _SHOWN)}")
    if aside := listing.set_aside:
        named = listed(aside, _SHOWN)
        notes.append(f"left out folders whose names begin with _: {named}; if those are classes, call them otherwise")
    return notes


def _empty(listing: Listing, by_split: dict[str, list[str]], top: Sequence[str], *, in_splits: bool) -> list[str]:
    """Class folders without an image: an error in the training split, else a note."""
    depth = len(top) + in_splits
    sizes = Counter("/".join(name.split("/")[: depth + 1]) for names in by_split.values() for name in names)
    wanted = [folder for folder in listing.folders if folder.count("/") == depth and folder.startswith("/".join(top))]
    empty = [folder for folder in wanted if not sizes[folder]]
    split = {folder: _split_of(folder.split("/")[len(top)]) if in_splits else "train" for folder in empty}
    if bare := [folder for folder in empty if split[folder] == "train"]:
        raise UserError(
            f"{listing.location!r} has class folders without an image: {listed(bare, _SHOWN)}; put images there, or "
            "remove them"
        )
    rest = [folder for folder in empty if split[folder]]
    return [f"class folders without an image: {listed(rest, _SHOWN)}"] if rest else []
