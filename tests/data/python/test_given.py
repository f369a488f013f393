"""Data in the forms that people have in Python: what becomes of them, and what is refused."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from ray_mentor import samples_from_dataset
from ray_mentor.config import DataConfig
from ray_mentor.data.python.given import given
from ray_mentor.data.samples.samples import Samples
from ray_mentor.errors import UserError

N = 30
NAMES = ["ant", "bee", "cow"]
X = np.random.default_rng(0).standard_normal((N, 4)).astype(np.float32)
Y = np.arange(N) % 3


def of(data: Any, **settings: Any) -> Samples:
    return given(data, DataConfig(**settings)).samples


def refusal(data: Any, **settings: Any) -> str:
    with pytest.raises(UserError) as raised:
        of(data, **settings)
    return str(raised.value)


def frame(labels: Any = None, **more: Any) -> pd.DataFrame:
    values = {f"x{place}": X[:, place].astype(np.float64) for place in range(4)}
    return pd.DataFrame({**values, "label": Y if labels is None else labels, **more})


def fed(samples: Samples) -> torch.Tensor:
    return samples.inputs.take(np.arange(len(samples)))


def pixels(channels: int = 3) -> Any:
    return np.random.default_rng(1).integers(0, 256, (N, 6, 5, channels), dtype=np.uint8)


FORMS = {
    "arrays": lambda: (X, Y),
    "tensors": lambda: (torch.from_numpy(X), torch.from_numpy(Y)),
    "a list of two": lambda: [X.astype(np.float64), Y.tolist()],
    "pandas": lambda: frame(),
    "hugging_face": lambda: datasets.Dataset.from_pandas(frame(), preserve_index=False),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_are_what_a_torch_data_set_of_them_is(form: str) -> None:
    samples = of(FORMS[form]())
    torchs = samples_from_dataset(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)))
    assert torch.equal(fed(samples), fed(torchs))
    assert (samples.labels == torchs.labels).all()
    assert (samples.ids == torchs.ids).all()
    assert samples.classes == torchs.classes
    assert samples.inputs.shape == torchs.inputs.shape
    assert samples.inputs.dtype == torchs.inputs.dtype


LABELS = {
    "names": [NAMES[label] for label in Y],
    "numpy names": np.array([NAMES[label] for label in Y]),
    "pandas names": pd.Series([NAMES[label] for label in Y], dtype="string"),
    "categories": pd.Categorical([NAMES[label] for label in Y], ["cow", "bee", "ant"]),
    "floats": Y.astype(np.float32),
    "small": Y.astype(np.uint8),
    "objects": np.array(Y.tolist(), object),
}
OWN = {"names": NAMES, "numpy names": NAMES, "pandas names": NAMES, "categories": ["cow", "bee", "ant"]}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_every_kind(kind: str) -> None:
    labels = LABELS[kind]
    named = OWN.get(kind, ["0", "1", "2"])
    for samples in (of(frame(labels)), *([] if kind == "categories" else [of((X, labels))])):
        assert list(samples.classes) == named
        assert [samples.classes[label] for label in samples.labels] == [
            (NAMES[label] if kind in OWN else str(label)) for label in Y
        ]


def test_booleans_are_two_classes() -> None:
    for data in (frame(Y == 1), (X, Y == 1), [(torch.from_numpy(x), bool(y == 1)) for x, y in zip(X, Y, strict=True)]):
        assert of(data).labels.tolist() == (Y == 1).astype(int).tolist()
        assert of(data).classes == ("0", "1")


class Rows:
    """A map-style data set whose labels are not integers."""

    def __init__(self, labels: Any) -> None:
        self.labels_there = labels

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Any]:
        return torch.from_numpy(X[index]), self.labels_there[index]


@pytest.mark.parametrize(
    ("labels", "named"),
    [(LABELS["names"], True), (Y.astype(float).tolist(), False), (torch.from_numpy(Y).double(), False)],
)
def test_a_torch_data_set_may_have_such_labels_too(labels: Any, *, named: bool) -> None:
    samples = of(Rows(labels))
    assert samples.classes == (tuple(NAMES) if named else ("0", "1", "2"))
    assert samples.labels.tolist() == Y.tolist()


def test_a_meta_set_has_the_classes_and_features_of_the_training_data() -> None:
    train = given(frame(LABELS["names"]), DataConfig())
    some = frame(["cow", "ant"] * 15, more=np.arange(N) / 7)[["label", "x3", "x2", "x1", "x0", "more"]]
    samples = given(some, DataConfig(), train).samples
    assert samples.labels.tolist() == [2, 0] * 15
    assert samples.classes == tuple(NAMES)
    assert torch.equal(fed(samples), torch.from_numpy(X))
    with pytest.raises(UserError, match=re.escape("column 'label': 'wasp' is none of the 3 classes (ant, bee, cow)")):
        given(frame(["wasp", "ant"] * 15), DataConfig(), train)
    with pytest.raises(UserError, match="the data has no column 'x3'"):
        given(frame(["ant"] * N).drop(columns="x3"), DataConfig(), train)
    assert given((X, ["bee"] * N), DataConfig(), train).samples.labels.tolist() == [1] * N


def test_columns_of_a_frame_are_what_the_settings_say() -> None:
    table = frame(LABELS["names"], truth=["bee"] * N, photo=[f"{row}.jpg" for row in range(N)]).rename(
        columns={"label": "kind"}
    )
    samples = of(table, label_column="kind", true_label_column="truth", id_column="photo", feature_columns=("x2",))
    assert samples.true_labels is not None
    assert samples.true_labels.tolist() == [1] * N
    assert samples.names is not None
    assert samples.names[:2].to_pylist() == ["0.jpg", "1.jpg"]
    assert torch.equal(fed(samples), torch.from_numpy(X[:, 2:3]))
    assert "columns that are not taken for features unasked: 'photo' (string, not numbers)" in refusal(
        table.drop(columns="truth"), label_column="kind"
    ).replace("large_string", "string")
    assert "has no column 'label'" in refusal(frame().rename(columns={"label": "thing"}))


def test_samples_are_called_as_the_frames_index_has_it() -> None:
    table = frame()
    shuffled = table.sample(frac=1, random_state=0)
    assert of(shuffled).ids.tolist() == shuffled.index.tolist()
    named = of(table.set_index(np.array([f"p{row}" for row in range(N)])))
    assert named.names is not None
    assert named.names[3].as_py() == "p3"
    twice = pd.concat([table, table])
    assert of(twice).ids.tolist() == list(range(2 * N))
    assert of(table.assign(sample_id=np.arange(N) + 100)).ids.tolist() == list(range(100, 100 + N))


def test_images_in_arrays() -> None:
    colour, grey = pixels(), pixels(1)
    assert torch.equal(fed(of((colour, Y))), torch.from_numpy(colour).permute(0, 3, 1, 2) / 255)
    assert torch.equal(fed(of((grey[..., 0], Y))), torch.from_numpy(grey).permute(0, 3, 1, 2) / 255)
    planes = np.ascontiguousarray(colour.transpose(0, 3, 1, 2))  # as torch has them: what a torch data set gives
    torchs = samples_from_dataset(TensorDataset(torch.from_numpy(planes), torch.from_numpy(Y)))
    assert torch.equal(fed(of((planes, Y))), fed(torchs))
    tokens = np.arange(N * 3).reshape(N, 3)
    assert of((tokens, Y)).inputs.dtype == torch.int64
    assert fed(of((tokens, Y))).tolist() == tokens.tolist()


def hugging_face(tmp_path: Path, *, files: bool) -> datasets.Dataset:
    features = datasets.Features({"image": datasets.Image(), "kind": datasets.ClassLabel(names=["cow", "bee", "ant"])})
    images: list[Any] = [Image.fromarray(image) for image in pixels()]
    if files:
        paths = [str(tmp_path / f"{row}.png") for row in range(N)]
        for image, path in zip(images, paths, strict=True):
            image.save(path)
        images = paths
    return datasets.Dataset.from_dict({"image": images, "kind": Y.tolist()}, features=features)


@pytest.mark.parametrize("files", [False, True])
def test_hugging_faces_images_and_classes(tmp_path: Path, *, files: bool) -> None:
    data = hugging_face(tmp_path, files=files).shuffle(seed=1).select(range(20))
    samples = of(data, label_column="kind")
    assert samples.classes == ("cow", "bee", "ant")
    expected = np.stack([np.asarray(image) for image in data["image"]])
    assert torch.equal(fed(samples), torch.from_numpy(expected).permute(0, 3, 1, 2) / 255)
    assert samples.labels.tolist() == list(data["kind"])


def test_a_column_of_arrays() -> None:
    data = datasets.Dataset.from_dict({"signal": X.reshape(N, 2, 2).tolist(), "label": Y.tolist()})
    assert torch.equal(fed(of(data)), torch.from_numpy(X.reshape(N, 2, 2)))
    two = data.add_column("other", X.tolist())  # type: ignore[no-untyped-call]
    assert refusal(two) == (
        "the data have a column of arrays, 'signal', beside other, but the model is fed one column of arrays alone; "
        "name it with image_column, or join them"
    )
    assert of(two, ignore_columns=("other",)).inputs.shape == (2, 2)
    assert of(two, feature_columns=("other",)).inputs.shape == (4,)
    ragged = datasets.Dataset.from_dict({"x": [[1.0], [1.0, 2.0]] * 15, "label": Y.tolist()})
    assert refusal(ragged).startswith("column 'x' holds arrays that can't be stacked (")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ((X, Y, Y), "the data are 3 arrays, but they must be two: (inputs, labels)"),
        ((X, Y[:-1]), "there are 30 inputs, but 29 labels; give one for each"),
        ((X[:0], Y[:0]), "the data are empty, but at least one sample is needed"),
        ((X, Y / 2), "labels: row 1 is 0.5, but labels are classes, whole numbers or names; mend it (10 such), or, "
         "where targets are amounts, give a loss of your own"),
        ((X, np.where(Y == 1, np.nan, Y)), "labels: row 1 is nan, but labels are classes"),
        ((X, np.eye(3)[Y]), "labels must be classes in one row, but are float64 of shape (30, 3)"),
        ((X, np.array([None, *Y[1:]], object)), "labels: row 0 has none, but every sample needs one; fill it in or "
         "leave the row out (1 such)"),
        ((X, np.array([*Y[1:], "ant"], object)), "labels are int64, str, but they must be of one kind: numbers or"),
        ((X, Y.astype(complex)), "labels must be classes, whole numbers or names, but are complex128"),
        ((np.where(X > 2, np.inf, X), Y), "is not finite, but all numbers must be; mend it or leave the row out"),
        ((np.array(["a"] * N), Y), "the inputs are <U1 of shape (30,), but they must be numbers, one row a sample"),
        (frame(np.where(Y == 1, np.nan, Y)), "column 'label': row 1 has none, but every sample needs one"),
        (frame([*LABELS["names"][1:], None]), "column 'label': row 29 has none, but every sample needs one"),
        (frame(Y / 4), "column 'label': row 1 is 0.25, but labels are classes, whole numbers or names"),
        (frame(x0=np.where(Y == 2, np.nan, Y / 3)), "feature 'x0' in row 2 of the data (sample id 2) is missing, NaN"),
        (frame()[:0], "the data: no rows, but at least one sample is needed"),
        (datasets.Dataset.from_dict({"text": ["a b"] * N, "label": Y.tolist()}), "'text' (string, not numbers)"),
        ("digits.csv", "the data are 'digits.csv', a path or a name; what lies there is read by ray_mentor.train("),
        ({"x": X, "y": Y}, "the data are a dict of x, y, not one data set; several splits: datasets={'train'"),
    ],
)  # fmt: skip
def test_what_is_refused(data: Any, says: str) -> None:
    assert says in refusal(data)


class Dataset:
    """Stands for one of Ray Data that is larger than any memory."""

    __module__ = "ray.data.dataset"

    def materialize(self) -> Dataset:
        return self

    def size_bytes(self) -> int:
        return 2**60


def test_a_data_set_of_ray_data_that_does_not_fit() -> None:
    said = refusal(Dataset())
    assert said.startswith("the rows of a Ray Data set need 1,073,741,824.0 GiB of memory, but there are ")
    assert said.endswith("; write it as Parquet, and give its path with data_backend ray, which streams it")


def test_encoded_images_in_a_frame() -> None:
    def png(image: Any) -> bytes:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        return file.getvalue()

    samples = of(pd.DataFrame({"image": [png(image) for image in pixels()], "label": LABELS["names"]}))
    assert torch.equal(fed(samples), torch.from_numpy(pixels()).permute(0, 3, 1, 2) / 255)
