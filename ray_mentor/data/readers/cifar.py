"""CIFAR-10 and CIFAR-100 through torchvision."""

from __future__ import annotations

from typing import Any

import numpy as np

from ray_mentor.config import DataConfig
from ray_mentor.data.readers.raw import Raw
from ray_mentor.data.samples.inputs import ImageInputs
from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import UserError

CIFAR = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}


def read_cifar(config: DataConfig) -> Raw:
    """Train 50,000 and test 10,000 images of 32×32 in colour; test ids follow the training ids.

    Raises:
        UserError: not in ``data_folder``, or it can't be fetched.
    """
    train = _samples(_open(config, train=True), 0)
    return Raw(train, _samples(_open(config, train=False), len(train)))


def _open(config: DataConfig, train: bool) -> Any:
    from torchvision import datasets  # noqa: PLC0415  a second of start-up for two data sets

    factory = getattr(datasets, CIFAR[config.data])
    try:
        return factory(config.data_folder, train=train, download=config.download)
    except RuntimeError as error:
        fix = "the download is broken" if config.download else "add --download to fetch it"
        raise UserError(
            f"{config.data} is not (whole) in data_folder {config.data_folder!r}; "
            f"{fix}, or name another folder with --data-folder"
        ) from error
    except OSError as error:
        raise UserError(f"{config.data} can't be fetched into data_folder {config.data_folder!r}: {error}") from error


def _samples(dataset: Any, first_id: int) -> Samples:
    labels = np.array(dataset.targets, np.int64)
    ids = np.arange(first_id, first_id + len(labels))
    return Samples(ImageInputs(dataset.data), ids, labels, None, tuple(dataset.classes))
