import re

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from ray_mentor.data import FeatureInputs, Samples, samples_from_dataset
from ray_mentor.errors import UserError


def make(ids=(0, 1, 2), labels=(0, 1, 0), true_labels=None, classes=("a", "b")):
    return Samples(FeatureInputs(np.zeros((3, 2), np.float32)), ids, labels, true_labels, classes)


def test_selecting_keeps_rows_together():
    samples = make(ids=(5, 6, 7), true_labels=(1, 1, 0)).select(np.array([2, 0]))
    assert samples.ids.tolist() == [7, 5]
    assert samples.labels.tolist() == [0, 0]
    assert samples.true_labels.tolist() == [0, 1]
    assert len(samples) == 2


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"ids": (7, 7, 1)}, "sample ids must be unique, but 7 occurs more than once; name another id_column"),
        ({"labels": (0, 2, 0)}, "label 2 of sample id 1 (row 1) is outside 0..1, the 2 classes; mend it"),
        ({"labels": (0, 1, -1)}, "label -1 of sample id 2 (row 2) is outside 0..1, the 2 classes"),
        ({"true_labels": (9, 0, 0)}, "true label 9 of sample id 0 (row 0) is outside 0..1"),
        ({"labels": (0, 1)}, "labels has 2 entries, but there are 3 inputs; give one for each"),
        ({"labels": (0.5, 1, 0)}, "labels must be integers in one row, but are float64 of shape (3,)"),
    ],
)
def test_errors(wrong, text):
    with pytest.raises(UserError, match=re.escape(text)):
        make(**wrong)


class Data(torch.utils.data.Dataset):
    def __init__(self, given, **known):
        self.given = given
        self.__dict__.update(known)

    def __len__(self):
        return len(self.given)

    def __getitem__(self, index):
        return torch.full((2,), float(index)), self.given[index]


def test_labels_of_a_dataset_come_from_targets_labels_or_one_pass():
    for data in (Data([9, 9, 9], targets=[0, 1, 1]), Data([9, 9, 9], labels=torch.tensor([0, 1, 1])), Data([0, 1, 1])):
        samples = samples_from_dataset(data)
        assert samples.labels.tolist() == [0, 1, 1]
        assert samples.ids.tolist() == [0, 1, 2]
        assert samples.classes == ("0", "1")
        assert samples.true_labels is None


def test_given_labels_truth_and_names_win_over_the_dataset():
    data = Data([0, 1, 1], targets=[0, 1, 1], classes=["x", "y"])
    assert samples_from_dataset(data).classes == ("x", "y")
    samples = samples_from_dataset(data, labels=[1, 1, 1], true_labels=[0, 1, 2], classes=["p", "q", "r"])
    assert samples.labels.tolist() == [1, 1, 1]
    assert samples.true_labels.tolist() == [0, 1, 2]
    assert samples.classes == ("p", "q", "r")


def test_tensor_labels_work():
    assert samples_from_dataset(TensorDataset(torch.zeros(2, 3), torch.tensor([1, 0]))).labels.tolist() == [1, 0]


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (Data([]), "the data set is empty, but at least one sample is needed; check its folder and filters"),
        (
            Data([b"cat"]),
            "dataset[0] must give (input, label) with a label that is a class, a whole number or a name; change the",
        ),
        (
            DataLoader(Data([0, 1])),
            "the data set is a DataLoader, but a run makes its own batches; give the loader's .dataset",
        ),
        (
            (torch.zeros(3, 2), torch.zeros(3).long()),
            "the data set is a tuple of arrays, but it must give (input, label) for an index; wrap it: "
            "TensorDataset(inputs, labels)",
        ),
        (Stream(), "the data set is a Stream without a length, but a map-style one is needed; give it __len__"),
    ],
)
def test_dataset_errors(data, text):
    with pytest.raises(UserError, match=re.escape(text)):
        samples_from_dataset(data)
