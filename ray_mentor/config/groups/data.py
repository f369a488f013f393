"""What is trained on, what is trusted, and what is held out."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ray_mentor.config.values import require
from ray_mentor.errors import UserError, listed, one_of, shown

BACKENDS = ("memory", "arrow", "ray")
"""Ways to hold the inputs of a run. The samples are the same with each; their order and the result with memory and
arrow: ray shuffles in windows."""

AUGMENTS = ("none", "flip-shift", "flip-crop", "randaugment", "trivialaugment")
"""Ways to change training images; a function of the user's own is another."""

LEAST_SIDE = 8
"""Of an image that image_size asks for, as the smallest built-in images have."""


META_SOURCES = ("meta_data", "meta_ids", "meta_column")
"""Settings of which one, in place of ``meta_size``, says what the trusted set is."""

FORMATS = ("parquet", "images", "csv", "jsonl", "npz", "hf", "webdataset", "text")
"""What data of one's own can be stored as."""


BUILT_IN = ("digits", "cifar10", "cifar100")
"""Data sets that are known by name."""


_SOURCE = re.compile(r"(?:^|,)([A-Za-z_][\w-]*)=")


def sources_in(data: str, setting: str = "data", one: str = "source") -> dict[str, str]:
    """Reads ``NAME=PATH,NAME=PATH`` into paths by name; of a single data set, {}.

    Args:
        setting: that says so, for messages.
        one: what each of them is called there.

    Raises:
        UserError: a name that occurs twice, or a source without a path.
    """
    found = list(_SOURCE.finditer(data))
    if len(found) < 2 or found[0].start() > 0:
        return {}
    ends = [match.start() for match in found[1:]] + [len(data)]
    pairs = [(match[1], data[match.end() : end]) for match, end in zip(found, ends, strict=True)]
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{setting} names the {one} {twice!r} twice; give each {one} a name of its own")
    empty = next((name for name, path in pairs if not path), None)
    if empty is not None:
        option = f"--{setting.replace('_', '-')}"
        raise UserError(f"{setting} names the {one} {empty!r} without a path; give {option} {empty}=PATH")
    return dict(pairs)


def targets_in(meta_data: str) -> dict[str, tuple[str, float]]:
    """Reads ``NAME=PATH:WEIGHT,NAME=PATH`` into paths and weights by name, 1 where there is none; of a single one, {}.

    Raises:
        UserError: as :func:`sources_in`, or a weight that is none.
    """
    found = {}
    for name, text in sources_in(meta_data, "meta_data", "target").items():
        path, _, last = text.rpartition(":")
        try:
            weight = float(last) if path else math.nan
        except ValueError:
            weight = math.nan
        is_said = not math.isnan(weight) or (path and last.lower() == "nan")
        if is_said and not 0 < weight < math.inf:
            raise UserError(
                f"the target {name!r} of meta_data has the weight {last}, but a weight is above 0; give it one"
            )
        found[name] = (path, weight) if is_said else (text, 1.0)
    return found


def names_a_source(value: str) -> bool:
    """Whether it is a NAME=PATH."""
    return _SOURCE.match(value) is not None


def joined_sources(values: Sequence[str], option: str = "--data") -> str:
    """One setting of the values of an option that is given several times, ``--data`` or ``--meta-data``.

    Raises:
        UserError: one that names no source, or a path that can't be told from the next name.
    """
    one = "source" if option == "--data" else "target"
    for value in values:
        if not names_a_source(value):
            raise UserError(
                f"{option} is given {len(values)} times, and {shown(value)} has no name; name each {one}: "
                f"{option} wiki=PATH {option} code=PATH"
            )
    whole, setting = ",".join(values), option.removeprefix("--").replace("-", "_")
    if len(sources_in(whole, setting, one)) != len(values):
        raise UserError(f"{setting} is {shown(whole)}, in which a path holds what looks like another name; rename it")
    return whole


def check_there(data: str) -> None:
    """Raises a UserError unless this is a built-in data set, or a path at which there is something, or names such; what
    lies on another file system or on the Hub is looked for when it is read.
    """
    for source in sources_in(data).values():
        check_there(source)
    if sources_in(data):
        return
    if not (data in BUILT_IN or "://" in data or data.startswith("hf:") or os.path.exists(data)):
        raise unknown_data(data)


def unknown_data(data: str) -> UserError:
    """What to say where there is no such data."""
    return UserError(
        f"unknown data {shown(data)}; valid: {', '.join(BUILT_IN)}, "
        f"or a path to data of your own (no such file or folder: {listed([data])})"
    )


NOISES = ("none", "symmetric", "asymmetric", "instance", "imb")
"""Kinds of label noise that can be added."""

PROFILES = ("none", "exp", "step")
"""Ways in which classes can be made rare."""


def parse_noise(text: str) -> tuple[str, float]:
    """Reads ``none`` or ``KIND:RATE`` into (kind, noise rate in [0, 1)).

    Raises:
        UserError: unknown kind, missing rate, or a rate outside [0, 1).
    """
    kind, _, rate_text = text.partition(":")
    one_of(kind, NOISES, "noise")
    if kind == "none":
        require(not rate_text, "noise", text, "none takes no rate")
        return kind, 0.0
    try:
        rate = float(rate_text)
    except ValueError:
        raise UserError(f"noise is {shown(text)}, but it must be {kind}:RATE, e.g. {kind}:0.4") from None
    require(0.0 <= rate < 1.0, "noise rate", rate, "it must lie in [0, 1)", f"e.g. {kind}:0.4 for 40 %")
    return kind, rate


def parse_imbalance(text: str) -> tuple[str, float]:
    """Reads ``none`` or ``PROFILE:FACTOR`` into (profile, size of the largest class over that of the smallest, >= 1).

    Raises:
        UserError: unknown profile, missing factor, or one below 1.
    """
    profile, _, factor_text = text.partition(":")
    one_of(profile, PROFILES, "imbalance")
    if profile == "none":
        require(not factor_text, "imbalance", text, "none takes no factor")
        return profile, 1.0
    try:
        factor = float(factor_text)
    except ValueError:
        raise UserError(f"imbalance is {shown(text)}, but it must be {profile}:FACTOR, e.g. {profile}:100") from None
    is_factor = 1.0 <= factor < math.inf
    rule = "it must be at least 1, the size of the largest class over that of the smallest"
    require(is_factor, "imbalance factor", factor, rule, f"e.g. {profile}:100")
    return profile, factor


def check_augment(text: str) -> None:
    """Raises a UserError unless it is one of :data:`AUGMENTS`, or may name a function."""
    place, _, function = text.rpartition(":")
    if not (place and function):
        one_of(text, (*AUGMENTS, "MODULE:FUNCTION", "FILE.py:FUNCTION"), "augment")


@dataclass(frozen=True)
class DataConfig:
    """What is trained on, what is trusted, and what is held out."""

    data: str = "digits"
    """digits (ships with scikit-learn), cifar10, cifar100 (torchvision), or a path (also s3://, gs://) to Parquet, CSV,
    TSV, JSONL, .npz, WebDataset's .tar, what Hugging Face's save_to_disk wrote, or to a folder of images with a folder
    for each class; or hf:NAME, a data set on the Hub (extra hf). Several sources of which each has a share of training:
    --data NAME=PATH for each (in a file NAME=PATH,NAME=PATH)."""
    format: str = "auto"
    """What data is stored as: parquet, images (a folder for each class), csv (also TSV), jsonl, npz, hf (what
    save_to_disk wrote), webdataset; or text: a file of plain text, or a folder of such, in windows of bytes of which a
    student like byte-gpt says which comes next. auto: what is there, but for text."""
    data_folder: str = "data"
    """Folder of the torchvision data sets."""
    download: bool = False
    """Let torchvision download a missing data set into data_folder."""
    data_backend: str = "memory"
    """memory: inputs are decoded at every start; the better choice up to some 50,000 images of 32x32 (0.15 GiB of
    pixels). arrow: they are decoded once, into a file that all processes of a node map; also for data larger than
    memory. ray: they stay where they are stored, and are streamed to the workers."""
    shuffle_rows: int = 16_384
    """ray: training samples that an epoch is shuffled in at a time, >= 1 (a row group is never cut); each worker holds
    its share of a few times as many, decoded."""
    data_cache: str = "~/.cache/ray_mentor"
    """arrow: folder of the files that data are decoded into; on a cluster, one that all nodes share. ray: folder of
    what splits and scale need of each sample, found out once."""
    label_column: str = "label"
    """The column of given labels (integers, or strings as class names). Where there is none of this name: `labels`,
    `class`, `target` or the like."""
    image_column: str | None = None
    """The column of images: encoded (bytes, or a struct with bytes), or in CSV and JSONL their paths. None: `image` or
    `img` if there, and `path`, `file_name` or the like for paths."""
    text_column: str | None = None
    """The column of texts, for a student of texts (hf:FOLDER with its tokenizer there), which is fed their tokens; a
    batch is padded to its longest, and nothing is mixed."""
    max_tokens: int | None = None
    """Tokens of a text that the student is fed, special ones counted in; longer texts are cut. None: as many as it
    takes. Of format text: bytes of a window; None: 128."""
    image_size: int | None = None
    """Side of the square that the model is fed, >= 8: the shorter side of each image is resized to it and a margin
    (8/7 of it, 256 for 224), and the middle cropped; augment flip-crop crops at random. None: images are fed as they
    are, and must have one size."""
    skip_broken: bool = False
    """Leave out images that can't be decoded and texts that are empty, and say which, instead of ending with an
    error."""
    feature_columns: tuple[str, ...] = ()
    """Without images: the numeric columns to use. Empty: all but label, id and true label; what is plainly no
    feature (an index, an id, another label, text) is refused then."""
    ignore_columns: tuple[str, ...] = ()
    """Without images: columns that are no features."""
    keep_columns: tuple[str, ...] = ()
    """Without images: columns that are features, though they look like an index, an id or a label."""
    id_column: str | None = None
    """The column of sample ids, integers or strings. None: `sample_id` if there, else the row number."""
    true_label_column: str | None = None
    """The column of true labels where they are known; for reports, `oracle`, a drawn meta set and the test split."""
    group_column: str | None = None
    """The column of groups (integers or strings) that are no classes, such as the hospital: accuracy is told of each,
    and of the worst; group-dro and a mixture go by them."""
    meta_balance: Literal["classes", "groups"] = "classes"
    """What a drawn meta set has as many samples of as it can: each class, or each group; with groups, shares are learnt
    for the mean over groups of the target's loss."""
    noise: str = "auto"
    """Label noise to add: none, symmetric:R, asymmetric:R, instance:R, or imb:R (to large classes in proportion to
    their sizes), with rate R in [0, 1). auto: symmetric:0.4 on digits (the demonstration), none on everything else."""
    imbalance: str = "none"
    """Make classes of the training and validation splits rare, before noise: none; exp:F, the largest class F times as
    large as the smallest, in equal ratios from the first class to the last; step:F, the second half of the classes F
    times smaller than the first. Meta set and test split stay as they are drawn; train_size bounds what is left."""
    meta_size: int = 100
    """Samples taken from the training split, before noise, as the trusted set (class-balanced where possible), >= 0;
    with 0 nothing is known to be right, and a method that learns from it is refused."""
    meta_data: str | None = None
    """A trusted meta set of its own, in any format that data can have; in place of meta_size. Several targets that
    training is for, each with a weight: --meta-data NAME=PATH:WEIGHT for each (in a file
    NAME=PATH:WEIGHT,NAME=PATH:WEIGHT); without a weight 1."""
    meta_ids: str | None = None
    """File of the ids of training samples that were checked by hand, which become the trusted set, in place of
    meta_size: one a line, or CSV or Parquet with a column sample_id, and checked_label (or label) where labels were
    corrected. `ray-mentor pick` makes one to fill in."""
    meta_column: str | None = None
    """Column that says of each row whether its label was checked (true, 1 or yes); those are the trusted set, in place
    of meta_size."""
    test_share: float = 0.2
    """Share of the samples held out as test split where the data has none, in (0, 1)."""
    validation_share: float = 0.1
    """Share of the training split held out, with its noise, to show agreement with given labels, in [0, 1); 0 for none.
    A stored `valid*` split takes its place."""
    train_size: int | None = None
    """Use at most this many training samples (after meta and validation are taken), drawn by seed."""
    clean_test: bool = False
    """The given labels of the stored test split are right (people have re-checked them), so that accuracy on it is
    true. Needed only where that isn't known otherwise: by a true_label_column, or because the noise was added."""
    test_size: int | None = None
    """Use at most this many test samples, drawn by seed."""
    hold_on_device: bool = False
    """Keep the training inputs in the memory of each worker's GPU, as they are stored (a byte a pixel and channel);
    not with data_backend ray."""
    augment: str = "none"
    """Augmentation of training images: none; flip-shift (mirror, and shift by up to 1/8 of the side); flip-crop (a part
    of 0.08 to 1 of the area, resized, and mirror; of the stored margin, too, with image_size); randaugment (flip-shift,
    then two of torchvision's operations at magnitude 9); trivialaugment (flip-shift, then one at any magnitude); or
    MODULE:FUNCTION or FILE.py:FUNCTION, given one image as a uint8 tensor (C, H, W), and returning one."""

    def __post_init__(self) -> None:
        if self.noise != "auto":
            parse_noise(self.noise)
        parse_imbalance(self.imbalance)
        require(bool(self.data), "data", self.data, "it must name a data set or a path")
        sources_in(self.data)
        targets_in(self.meta_data or "")
        one_of(self.format, ("auto", *FORMATS), "format")
        one_of(self.data_backend, BACKENDS, "data_backend")
        one_of(self.meta_balance, ("classes", "groups"), "meta_balance")
        side = self.image_size
        require(side is None or side >= LEAST_SIDE, "image_size", side, f"it must be at least {LEAST_SIDE}", "e.g. 224")
        most = self.max_tokens
        require(most is None or most >= 1, "max_tokens", most, "it must be at least 1", "e.g. 128")
        if most is not None and self.text_column is None and not self.is_plain_text:
            raise UserError(
                f"max_tokens is {most}, but there are no texts; name their column: --text-column, or give --format text"
            )
        is_folder = bool(self.data_cache) and "://" not in self.data_cache
        require(is_folder, "data_cache", self.data_cache, "it must be a folder of a disk", "e.g. /scratch/cache")
        require(self.shuffle_rows >= 1, "shuffle_rows", self.shuffle_rows, "it must be at least 1")
        require(self.meta_size >= 0, "meta_size", self.meta_size, "it must be at least 0")
        self._check_one_meta_set()
        require(0.0 < self.test_share < 1.0, "test_share", self.test_share, "it must lie in (0, 1)")
        require(0.0 <= self.validation_share < 1.0, "validation_share", self.validation_share, "it must lie in [0, 1)")
        for name in ("train_size", "test_size"):
            size = getattr(self, name)
            require(size is None or size > 0, name, size, "it must be above 0")
        check_augment(self.augment)

    def _check_one_meta_set(self) -> None:
        given = [name for name in META_SOURCES if getattr(self, name) is not None]
        if self.meta_size != DataConfig.meta_size and given:
            given.append("meta_size")
        if len(given) > 1:
            values = " and ".join(f"{name} is {shown(getattr(self, name))}" for name in given)
            raise UserError(f"{values}, but there is one trusted set; give one of them")

    @property
    def sources(self) -> dict[str, str]:
        """Paths of several sources by name; {} where there is one data set."""
        return sources_in(self.data)

    @property
    def targets(self) -> dict[str, tuple[str, float]]:
        """Paths and weights of several targets by name; {} where there is one, or none."""
        return targets_in(self.meta_data or "")

    @property
    def is_plain_text(self) -> bool:
        """Whether samples are windows of plain text."""
        return self.format == "text"

    @property
    def meta_source(self) -> str:
        """The setting that says what the trusted set is."""
        return next((name for name in META_SOURCES if getattr(self, name) is not None), "meta_size")

    @property
    def resolved_noise(self) -> tuple[str, float]:
        """(kind, rate) with ``auto`` resolved."""
        if self.noise == "auto":
            return ("symmetric", 0.4) if self.data == "digits" else ("none", 0.0)
        return parse_noise(self.noise)
