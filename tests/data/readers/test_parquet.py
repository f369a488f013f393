import io
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_data import hugging_face, image_bytes, write, write_images

from ray_mentor.config import DataConfig
from ray_mentor.data import Samples
from ray_mentor.data.readers import read
from ray_mentor.errors import UserError

CIFAR10 = Path(__file__).parents[3].parent / "shared/data/cifar10"


def read_path(path, **settings):
    return read(DataConfig(data=str(path), **settings))


def fails(path, text, **settings):
    with pytest.raises(UserError, match=re.escape(text)):
        read_path(path, **settings)


def message(path):
    """The text of the UserError that reading the file raises, or None if it can be read."""
    try:
        assert isinstance(read_path(path).train, Samples)
    except UserError as error:
        return str(error)


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def test_a_single_file_is_the_training_split(tmp_path):
    raw = read_path(write_images(tmp_path / "test.parquet"))
    assert raw.test is None
    assert raw.train.inputs.shape == (3, 4, 4)
    assert raw.train.ids.tolist() == list(range(20))
    assert (raw.train.inputs.values[7] == pixels(image_bytes(7))).all()


def test_splits_by_file_name_with_ids_that_go_on(tmp_path):
    write_images(tmp_path / "data/train-00001-of-00002.parquet", 5, first=5)
    write_images(tmp_path / "data/train-00000-of-00002.parquet", 5, first=0)
    write_images(tmp_path / "data/validation-00000-of-00001.parquet", 4, first=20)
    write_images(tmp_path / "data/test-00000-of-00001.parquet", 3, first=30)
    write_images(tmp_path / "data/extra.parquet", 3, first=40)
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/train.parquet").write_bytes(b"junk")
    raw = read_path(tmp_path)
    assert [len(raw.train), len(raw.validation), len(raw.test)] == [10, 4, 3]
    assert (raw.train.inputs.values[6] == pixels(image_bytes(6))).all()
    assert raw.test.ids.tolist() == [14, 15, 16]
    assert raw.notes == ("left out 1 files that are named neither train*, test* nor valid*: extra.parquet",)


def test_splits_by_folder_name(tmp_path):
    write_images(tmp_path / "default/train/0000.parquet", 5)
    write_images(tmp_path / "default/test/0000.parquet", 3)
    raw = read_path(tmp_path)
    assert [len(raw.train), len(raw.test)] == [5, 3]


def test_other_names_are_the_training_split_and_valid_stands_in_for_test(tmp_path):
    write_images(tmp_path / "part-0.parquet", 5)
    write_images(tmp_path / "valid.parquet", 3)
    raw = read_path(tmp_path)
    assert [len(raw.train), len(raw.test), raw.validation] == [5, 3, None]
    assert raw.notes == ("no test* files: the valid* files are the test split",)


def test_hugging_face_structs_and_class_names(tmp_path):
    images = [{"bytes": image_bytes(i, format="WEBP" if i % 2 else "JPEG"), "path": f"{i}.img"} for i in range(6)]
    write(tmp_path / "train.parquet", {"img": images, "label": [0, 1, 1, 0, 0, 1]}, hugging_face(["cat", "dog", "ox"]))
    train = read_path(tmp_path).train
    assert train.classes == ("cat", "dog", "ox")
    assert train.inputs.values.shape == (6, 4, 4, 3)


def test_string_labels_and_true_labels_are_sorted_class_names(tmp_path):
    columns = {"x": [1.0, 2.0, 3.0], "said": ["b", "c", "b"], "is": ["b", "a", "c"], "n": [30, 10, 20]}
    columns["said"] = pa.array(columns["said"]).dictionary_encode()
    path = write(tmp_path / "a.parquet", columns)
    train = read_path(path, label_column="said", true_label_column="is", id_column="n").train
    assert train.classes == ("a", "b", "c")
    assert train.labels.tolist() == [1, 2, 1]
    assert train.true_labels.tolist() == [1, 0, 2]
    assert train.ids.tolist() == [30, 10, 20]
    assert train.inputs.values.tolist() == [[1.0], [2.0], [3.0]]


def test_features_default_to_all_other_columns_and_sample_id_is_the_id(tmp_path):
    columns = {"sample_id": [4, 5], "a": [1, 2], "b": [True, False], "label": [0, 1], "__index_level_0__": [0, 1]}
    path = write(tmp_path / "a.parquet", columns)
    raw = read_path(path)
    assert raw.features == ("a", "b")
    assert raw.train.ids.tolist() == [4, 5]
    assert read_path(path, feature_columns=("b",)).train.inputs.values.tolist() == [[1.0], [0.0]]


def test_amounts_too_long_for_a_float_are_rounded(tmp_path):
    path = write(tmp_path / "a.parquet", {"x": [2.0**60 + 512, 2], "n": [2**24, -(2**24)], "label": [0, 1]})
    assert read_path(path).train.inputs.values.tolist() == [[2.0**60, 2.0**24], [2.0, -(2.0**24)]]


@pytest.mark.parametrize("backend", ["memory", "arrow", "ray"])
@pytest.mark.parametrize("kind", [pa.int32(), pa.int64(), pa.uint32(), pa.uint64()])
def test_integers_that_a_float_can_not_tell_apart_are_refused(tmp_path, backend, kind):
    columns = {"x": pa.array([2**24, 2**24 + 1, 2], kind), "label": [0, 1, 0], "sample_id": [7, 8, 9]}
    write(tmp_path / "train.parquet", columns)
    with pytest.raises(
        UserError,
        match=re.escape(
            f"feature 'x' in row 1 of {tmp_path / 'train.parquet'} (sample id 8) is an integer beyond 2**24, but "
            "features are float32, which can't tell such apart; leave an id out with ignore_columns, or store an "
            "amount as floats (1 such)"
        ),
    ):
        read_path(tmp_path, data_backend=backend, data_cache=str(tmp_path / "cache"))


def test_grey_images_keep_one_channel_unless_any_is_coloured(tmp_path):
    write_images(tmp_path / "grey/train.parquet", 6, mode="L")
    assert read_path(tmp_path / "grey").train.inputs.shape == (1, 4, 4)
    write_images(tmp_path / "mixed/train-0.parquet", 6, mode="L")
    write_images(tmp_path / "mixed/train-1.parquet", 6)
    write_images(tmp_path / "mixed/test.parquet", 6, mode="L")
    raw = read_path(tmp_path / "mixed")
    grey = pixels(image_bytes(2, mode="L"))
    assert (raw.train.inputs.values[2] == grey[..., None]).all()
    assert (raw.test.inputs.values[2] == grey[..., None]).all()
    assert (raw.train.inputs.values[8] == pixels(image_bytes(2))).all()


def test_images_with_palette_and_transparency_are_read(tmp_path):
    file = io.BytesIO()
    image = Image.new("P", (4, 4))
    image.info["transparency"] = bytes(range(256))
    image.save(file, "PNG", transparency=bytes(range(256)))
    path = write(tmp_path / "a.parquet", {"image": [file.getvalue()], "label": [0]})
    assert read_path(path).train.inputs.shape == (3, 4, 4)


COLUMN_ERRORS = [
    ({"label_column": "labels"}, "has no column 'labels' (nearest: 'label'); its columns are n, text, label, half"),
    ({"id_column": "id"}, "has no column 'id'; its columns are n, text, label, half"),
    ({"id_column": "half"}, "is double, but sample ids must be integers or strings; name another id_column"),
    ({"image_column": "img"}, "has no column 'img'; its columns are"),
    ({"image_column": "text"}, "is string, but images must be encoded bytes, or a struct that has them as `bytes`"),
    ({"true_label_column": "truth"}, "has no column 'truth'; its columns are"),
    ({"feature_columns": ("n", "m")}, "has no column 'm'; its columns are"),
    ({}, "has columns that are not taken for features unasked: 'text' (string, not numbers); leave them out: "),
    (
        {"feature_columns": ("text",)},
        "is string, but features must be numbers; name the numeric ones with feature_columns, or an image_column",
    ),
    (
        {"label_column": "half", "ignore_columns": ("text", "label")},
        "is double, but labels must be integers or strings; cast it",
    ),
    (
        {"image_column": "n", "feature_columns": ("half",)},
        "image_column is 'n' and feature_columns is half, but the model is fed either; give one of them",
    ),
]


@pytest.mark.parametrize(("settings", "text"), COLUMN_ERRORS)
def test_column_errors(tmp_path, settings, text):
    columns = {"n": [1, 2], "text": ["x", "y"], "label": [0, 1], "half": [0.5, 1.5]}
    fails(write(tmp_path / "a.parquet", columns), text, **settings)


FEATURE_ERRORS = [
    (
        {"x": [1.0, float("nan")], "label": [0, 1]},
        "feature 'x' in row 1 of {} (sample id 1) is missing, NaN or too large for float32",
    ),
    ({"x": [None, 1.0], "label": [0, 1]}, "feature 'x' in row 0 of {} (sample id 0) is missing, NaN or too large"),
    ({"x": [1.0, 1e300], "label": [0, 1]}, "feature 'x' in row 1 of {} (sample id 1) is missing, NaN or too large"),
    (
        {"x": [1, 2], "label": [0, None], "sample_id": [8, 9]},
        "column 'label' is null in row 1 of {} (sample id 9), but every sample needs one; "
        "fill it in or leave the row out (1 such)",
    ),
    ({"x": [1, 2], "label": [0, 1], "sample_id": [8, None]}, "column 'sample_id' is null in row 1 of {}, but every"),
    ({"x": [1, 2], "label": [0, -1]}, "label -1 in row 1 of {} (sample id 1) is none of the 1 classes (0..0); mend it"),
    ({"x": [1, 2], "label": [0, 10**6]}, "label 1000000 would make 1000001 classes, but integer labels must count up"),
    ({"x": [1, 2], "label": [0, 1], "sample_id": [7, 7]}, "sample ids must be unique, but 7 occurs more than once"),
    (
        {"x": [1, 2], "label": [0, 1], "sample_id": pa.array([1, 2**63], pa.uint64())},
        "column 'sample_id' of {} is uint64 with values above 2**63 − 1, but labels and ids are int64; write them",
    ),
    (
        {"x": [1, 2], "label": pa.array(["a", None]).dictionary_encode()},
        "column 'label' is null in row 1 of {}, but every sample needs one",
    ),
    ({"label": [0, 1]}, "{} has nothing to feed the model: besides labels and ids it has no column"),
    ({"x": pa.array([], pa.float64()), "label": pa.array([], pa.int64())}, "{}: no rows, but at least one sample"),
]


@pytest.mark.parametrize(("columns", "text"), FEATURE_ERRORS)
def test_row_errors(tmp_path, columns, text):
    path = write(tmp_path / "a.parquet", columns)
    fails(path, text.format(path))


def test_a_label_outside_the_named_classes(tmp_path):
    path = write(tmp_path / "a.parquet", {"x": [1, 2], "label": [0, 2]}, hugging_face(["a", "b"]))
    fails(path, f"label 2 in row 1 of {path} (sample id 1) is none of the 2 classes (0..1); mend it")
    path = write(tmp_path / "b.parquet", {"x": [1, 2], "label": ["a", "z"]}, {"class_names": "a,b"})
    fails(path, f"label 'z' in row 1 of {path} (sample id 1) is none of the 2 classes (a, b); mend it")


def test_integer_and_string_labels_do_not_mix(tmp_path):
    write(tmp_path / "train.parquet", {"x": [1, 2], "label": ["a", "b"]})
    write(tmp_path / "test.parquet", {"x": [1, 2], "label": [0, 1]})
    fails(tmp_path, "labels are strings in one place and integers in another; write them alike, or name the classes")


def eps():
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n"


def tiff(values):
    file = io.BytesIO()
    Image.fromarray(values).save(file, "TIFF")
    return file.getvalue()


IMAGE_ERRORS = [
    (
        lambda: b"",
        "the image in row 2 of {} (sample id 102) is empty; replace it, or leave all such images out: --skip-broken",
    ),
    (
        lambda: None,
        "the image in row 2 of {} (sample id 102) is empty; replace it, or leave all such images out: --skip-broken",
    ),
    (lambda: b"no image", "the image in row 2 of {} (sample id 102) can't be decoded (none of PNG, JPEG, WEBP, GIF,"),
    (lambda: image_bytes(0)[:60], "the image in row 2 of {} (sample id 102) can't be decoded ("),
    (lambda: eps(), "the image in row 2 of {} (sample id 102) can't be decoded (none of PNG"),
    (
        lambda: tiff(np.full((4, 4), 2**16, np.int32)),
        "the image in row 2 of {} (sample id 102) has more than 16 bits a channel (values from 65,536 to 65,536);",
    ),
    (
        lambda: tiff(np.zeros((4, 4), np.float32)),
        "the image in row 2 of {} (sample id 102) holds fractions (mode F), of which nobody knows what white is;",
    ),
    (
        lambda: image_bytes(0, size=(5, 3)),
        "images must have one size, but the one in row 2 of {} (sample id 102) is 5×3 and the first one 4×4 "
        "(width×height); --image-size brings all to one, e.g. --image-size 224",
    ),
]


@pytest.mark.parametrize(("bad", "text"), IMAGE_ERRORS)
def test_image_errors(tmp_path, bad, text):
    write_images(tmp_path / "train-0.parquet", 2, sample_id=[1, 2])
    images = pa.array([image_bytes(0), image_bytes(1), bad()], pa.binary())
    path = write(tmp_path / "train-1.parquet", {"image": images, "label": [0, 1, 0], "sample_id": [100, 101, 102]})
    fails(tmp_path, text.format(path))


def test_splits_of_different_sizes_do_not_fit(tmp_path):
    write_images(tmp_path / "train.parquet", 2)
    write(tmp_path / "test.parquet", {"image": [image_bytes(0, size=(5, 5))], "label": [0]})
    fails(tmp_path, "inputs of the test split have shape (3, 5, 5), but the training split's have (3, 4, 4); bring")


def test_strings_in_one_file_and_integers_in_the_next(tmp_path):
    write(tmp_path / "train-0.parquet", {"x": [1, 2], "label": ["a", "b"]})
    write(tmp_path / "train-1.parquet", {"x": [1, 2], "label": [0, 1]})
    fails(tmp_path, "labels are strings in one file and integers in another of the same split; write them alike")


def test_every_file_needs_the_columns(tmp_path):
    write(tmp_path / "train-0.parquet", {"x": [1, 2], "label": [0, 1]})
    path = write(tmp_path / "train-1.parquet", {"y": [1, 2], "label": [0, 1]})
    fails(tmp_path, f"{path} has no column 'x'; its columns are y, label")


def test_of_many_columns_those_that_may_be_labels_are_named_too(tmp_path):
    numbers = {f"x{place:02}": [1.0, 2.0] for place in range(60)}
    path = write(tmp_path / "a.parquet", {**numbers, "digit": ["one", "two"]})
    with pytest.raises(UserError) as error:
        read_path(path)
    assert str(error.value) == (
        f"{path} has no column 'label'; name the one of given labels with --label-column (text is in digit); its "
        "columns are x00, x01, x02, x03, x04, x05, x06, x07, x08, x09 and 51 more"
    )


def test_no_parquet_and_no_training_split(tmp_path):
    fails(tmp_path, f"no data at '{tmp_path}'; name a file, or a folder that holds *.parquet, *.csv, *.tsv, ")
    said = f"no Parquet file at '{tmp_path}'; name a file, or a folder that holds *.parquet files"
    fails(tmp_path, said, format="parquet")
    write_images(tmp_path / "test.parquet")
    fails(tmp_path, f"'{tmp_path}' holds no training split, only test.parquet; name its files train*")


def test_a_cut_off_file(tmp_path):
    path = write_images(tmp_path / "train.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    fails(path, f"{path} can't be read as Parquet (")
    path.write_bytes(b"")
    fails(path, "it may be cut off or not Parquet, write it anew")


def test_unknown_data_lists_what_is_valid():
    fails(
        "cifar11",
        "unknown data 'cifar11'; valid: digits, cifar10, cifar100, "
        "or a path to data of your own (no such file or folder: cifar11)",
    )


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans(), features=st.booleans())
def test_a_damaged_file_gives_samples_or_a_user_error(tmp_path, place, byte, cut, features):
    path = tmp_path / "a.parquet"
    if features:
        write(path, {"x": list(range(30)), "label": [i % 3 for i in range(30)]})
    else:
        write_images(path, 5)
    content = bytearray(path.read_bytes())
    at = int(place * len(content))
    content[at] = byte
    path.write_bytes(content[:at] if cut else content)
    assert message(path) is None or str(path) in message(path) or "label" in message(path)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), prefix=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"P6 4 4 "]))
def test_any_bytes_as_image_give_samples_or_a_user_error(tmp_path, data, prefix):
    path = write(tmp_path / "a.parquet", {"image": [prefix + data], "label": [0]})
    assert message(path) is None or "the image in row 0" in message(path)


@pytest.mark.long
@pytest.mark.skipif(not CIFAR10.exists(), reason="needs ../shared/data/cifar10, which is absent")
def test_the_real_cifar10_test_shard():
    raw = read_path(CIFAR10 / "test.parquet", image_column="image")
    assert raw.train.classes[:3] == ("airplane", "automobile", "bird")
    assert raw.train.inputs.values.shape == (10_000, 32, 32, 3)
    assert raw.train.labels[:5].tolist() == [3, 8, 8, 0, 6]
    assert np.bincount(raw.train.labels).tolist() == [1000] * 10
    # The mean colour of the official test images, as published: 0.4942, 0.4851, 0.4504.
    assert raw.train.inputs.statistics()[0] == pytest.approx([0.4942, 0.4851, 0.4504], abs=2e-3)
