"""Readers: one file for each kind of source."""

from __future__ import annotations

from ray_mentor.config import DataConfig
from ray_mentor.data.readers.cifar import CIFAR, read_cifar
from ray_mentor.data.readers.digits import read_digits
from ray_mentor.data.readers.parquet.read import read_files, read_trusted
from ray_mentor.data.readers.places import is_there
from ray_mentor.data.readers.raw import Raw, check_same_shape
from ray_mentor.data.storage.spread import Spread, in_threads
from ray_mentor.errors import UserError, listed, shown

__all__ = ["CLEAN", "Raw", "check_same_shape", "read", "read_trusted"]

CLEAN = ("digits", *CIFAR)
"""Data sets whose labels are right as they are stored."""


def read(config: DataConfig, spread: Spread = in_threads) -> Raw:
    """Reads what ``config.data`` names.

    Args:
        spread: reads what is left where it is stored.

    Raises:
        UserError: an unknown name that is no path either, or whatever is wrong with the data.
    """
    if config.data_backend != "memory" and config.data in CLEAN:
        raise UserError(
            f"data_backend is {config.data_backend!r}, but {config.data} is small and is held in memory; "
            "leave --data-backend out, or give a path to data of your own"
        )
    if config.data == "digits":
        return read_digits()
    if config.data in CIFAR:
        return read_cifar(config)
    if is_there(config.data):
        return read_files(config, spread)
    raise UserError(
        f"unknown data {shown(config.data)}; valid: digits, {', '.join(CIFAR)}, "
        f"or a path to data of your own (no such file or folder: {listed([config.data])})"
    )
