"""Readers: one file for each kind of source."""

from __future__ import annotations

from ray_mentor.config import DataConfig
from ray_mentor.config.groups.data import unknown_data
from ray_mentor.data.readers.cifar import CIFAR, read_cifar
from ray_mentor.data.readers.digits import read_digits
from ray_mentor.data.readers.formats.which import is_data
from ray_mentor.data.readers.new.files import read_new_files
from ray_mentor.data.readers.new.known import InMemory, Known, New, places_of
from ray_mentor.data.readers.raw import Raw, check_same_shape
from ray_mentor.data.readers.sources import read_sources
from ray_mentor.data.readers.tables.read import read_files, read_trusted_files
from ray_mentor.data.readers.texts.plain import check_plain, read_plain, read_plain_target
from ray_mentor.data.samples.inputs import AbstractArrayInputs
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.storage.spread import Spread, in_threads
from ray_mentor.errors import UserError

__all__ = ["CLEAN", "Known", "New", "Raw", "check_same_shape", "read", "read_new", "read_trusted"]

CLEAN = ("digits", *CIFAR)
"""Data sets whose labels are right as they are stored."""


def read(config: DataConfig, spread: Spread = in_threads, *, images: bool = True) -> Raw:
    """Reads what ``config.data`` names.

    Args:
        spread: reads what is left where it is stored.
        images: whether images are wanted, too; those that are files stay unread otherwise.

    Raises:
        UserError: an unknown name that is no path either, or whatever is wrong with the data.
    """
    if config.is_plain_text:
        check_plain(config)
    if config.sources:
        return read_sources(config, lambda one: read(one, spread, images=images))
    if config.data_backend != "memory" and config.data in CLEAN:
        raise UserError(
            f"data_backend is {config.data_backend!r}, but {config.data} is small and is held in memory; "
            "leave --data-backend out, or give a path to data of your own"
        )
    for name in ("text_column", "group_column"):
        if config.data in CLEAN and getattr(config, name) is not None:
            raise UserError(
                f"{name} is {getattr(config, name)!r}, but {config.data} holds images; leave it out, or give a "
                "path to data of your own"
            )
    if config.data in CLEAN:
        return _of_known_size(read_digits() if config.data == "digits" else read_cifar(config), config)
    if is_data(config.data):
        return read_plain(config) if config.is_plain_text else read_files(config, spread, images=images)
    raise unknown_data(config.data)


def read_trusted(config: DataConfig, raw: Raw) -> tuple[Samples, Raw, list[str]]:
    """Reads ``config.meta_data``, a meta set to go with data that is already read.

    Returns:
        The meta set; the data, in colour where the meta set is; and what the user should be told of it.

    Raises:
        UserError: as :func:`read`, or inputs that don't fit the training split's.
    """
    if config.is_plain_text:
        samples, told = read_plain_target(config)
        return samples, raw, told
    return read_trusted_files(config, raw)


def read_new(config: DataConfig, known: Known, *, labelled: bool) -> New:
    """Inputs that a trained student has not seen: what ``config.data`` names, of any format that :func:`read` knows.

    Of data that have a test split it is that.

    Args:
        config: where they are, and which columns.
        known: what the student was trained on.
        labelled: whether labels are wanted, among the student's classes; none are read otherwise.

    Raises:
        UserError: what :func:`read` says, or inputs or labels that don't fit the student.
    """
    if config.data in CLEAN:
        return _built_in(config, known, labelled=labelled)
    if is_data(config.data):
        return read_new_files(config, known, labelled=labelled)
    raise unknown_data(config.data)


def _built_in(config: DataConfig, known: Known, *, labelled: bool) -> New:
    raw = read(config)
    samples = raw.test or raw.train
    if samples.inputs.shape != known.shape:
        found = Known(samples.classes, samples.inputs.shape)
        raise UserError(f"{config.data} holds {found}, but the student was trained on {known}; give other data")
    labels = None
    if labelled:
        labels = places_of([samples.classes[label] for label in samples.labels], known, config.data)
    assert isinstance(samples.inputs, AbstractArrayInputs)
    what = "its test split" if raw.test else "all of it, what it was trained on too"
    notes = (f"{config.data}: {what}, {len(samples):,} samples",)
    return New(InMemory(samples.inputs.values[:]), samples.ids, samples.names, labels, notes)


def _of_known_size(raw: Raw, config: DataConfig) -> Raw:
    _, height, width = raw.train.inputs.shape
    if config.image_size not in (None, height):
        raise UserError(
            f"image_size is {config.image_size}, but {config.data} has images of {width}×{height}, in memory as they "
            "are; leave --image-size out, or give a path to images of your own"
        )
    return raw
