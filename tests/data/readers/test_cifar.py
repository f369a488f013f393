import re
from types import SimpleNamespace

import numpy as np
import pytest
import torchvision

from ray_mentor.config import DataConfig
from ray_mentor.data.readers import read
from ray_mentor.errors import UserError


def test_a_missing_folder_names_the_flag(tmp_path):
    folder = str(tmp_path / "none")
    for name in ("cifar10", "cifar100"):
        with pytest.raises(
            UserError,
            match=re.escape(
                f"{name} is not (whole) in data_folder {folder!r}; "
                "add --download to fetch it, or name another folder with --data-folder"
            ),
        ):
            read(DataConfig(data=name, data_folder=folder))


def test_a_failed_download_is_explained(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("no route")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", refuse)
    with pytest.raises(UserError, match="cifar10 can't be fetched into data_folder 'data': no route"):
        read(DataConfig(data="cifar10", download=True))


def test_images_labels_and_ids(monkeypatch):
    def fake(root, train, download):
        assert (root, download) == ("there", False)
        count = 6 if train else 4
        pixels = np.full((count, 32, 32, 3), int(train), np.uint8)
        return SimpleNamespace(data=pixels, targets=[0, 1] * (count // 2), classes=["apple", "bear"])

    monkeypatch.setattr(torchvision.datasets, "CIFAR100", fake)
    raw = read(DataConfig(data="cifar100", data_folder="there"))
    assert raw.train.inputs.shape == (3, 32, 32)
    assert raw.train.classes == ("apple", "bear")
    assert raw.test.ids.tolist() == [6, 7, 8, 9]
