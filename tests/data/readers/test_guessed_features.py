"""Which columns are features where nobody has named them; what is plainly none is never taken silently."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from small_data import write

from ray_mentor.config import DataConfig
from ray_mentor.data import prepare
from ray_mentor.data.readers import read
from ray_mentor.errors import UserError

N = 60
DRAW = np.random.default_rng(0)
LABELS = DRAW.integers(0, 3, N)
GOOD = {
    "width": DRAW.standard_normal(N),
    "count": DRAW.integers(0, 20, N),
    "is_old": DRAW.random(N) < 0.5,
    "label": LABELS,
}


def agreeing(share):
    """Another label, that is the given one in about a share of the rows."""
    other = (LABELS + 1 + DRAW.integers(0, 2, N)) % 3
    return np.where(DRAW.random(N) < share, LABELS, other)


def table(tmp_path, name="t.parquet", **more):
    return write(tmp_path / name, {**GOOD, **more})


def features(path, **settings):
    return read(DataConfig(data=str(path), **settings)).features


def refused(path, **settings):
    with pytest.raises(UserError) as error:
        read(DataConfig(data=str(path), **settings))
    return str(error.value)


def test_amounts_counts_and_flags_are_features_and_are_named(tmp_path):
    raw = read(DataConfig(data=str(table(tmp_path))))
    assert raw.features == ("width", "count", "is_old")
    said = "3 features: width, count, is_old (true is 1 and false 0 in is_old)"
    assert raw.notes == (said,)
    assert said in prepare(DataConfig(data=str(table(tmp_path)), meta_size=6), 0).notes


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("index", DRAW.standard_normal(N), "an index, by name"),
        ("Unnamed: 0", DRAW.standard_normal(N), "an index, by name"),
        ("patient_id", DRAW.integers(0, 9, N), "an id, by name"),
        ("PassengerId", DRAW.integers(0, 9, N), "an id, by name"),
        ("true_label", DRAW.integers(0, 9, N), "a label, by name"),
        ("cleanLabel2", DRAW.integers(0, 9, N), "a label, by name"),
        ("target", DRAW.integers(0, 9, N), "a label, by name"),
        ("y", DRAW.integers(0, 9, N), "a label, by name"),
        ("row", np.arange(N), "it counts the rows"),
        ("number", np.arange(100.0, 100.0 - N, -1.0), "it counts the rows"),
        ("ticket", DRAW.permutation(N) * 3, "whole numbers, another in each row"),
        ("verdict", LABELS * 2 + 5, "it determines the label"),
        ("grade", LABELS.astype(float), "it determines the label"),
        ("scaled", LABELS * 3.5 + 0.25, "it determines the label"),
        ("halved", LABELS / 2, "it determines the label"),
        ("rater", agreeing(0.8), "it is the label in "),
        ("remark", ["fine"] * N, "string, not numbers"),
        ("verified", DRAW.random(N) < 0.5, "what is known of the label, by name"),
        ("is_noisy", DRAW.integers(0, 2, N), "what is known of the label, by name"),
        ("is_train", DRAW.random(N) < 0.5, "which split a row belongs to, by name"),
        ("TestSet", DRAW.integers(0, 2, N).astype(float), "which split a row belongs to, by name"),
        ("fold", DRAW.integers(0, 5, N), "which split a row belongs to, by name"),
        ("when", pa.array([0] * N, pa.timestamp("ms")), "timestamp[ms], not numbers"),
    ],
)
def test_what_is_plainly_no_feature_is_not_taken(tmp_path, name, values, why):
    said = refused(table(tmp_path, **{name: values}))
    assert f"{tmp_path}/t.parquet has columns that are not taken for features unasked: {name!r} ({why}" in said
    quoted = f"'{name}'" if " " in name else name
    assert f"leave them out: --ignore-columns {quoted}" in said
    keeps = "--keep-columns NAME takes one for a feature after all"
    assert (keeps in said) == ("not numbers" not in why)
    assert features(table(tmp_path, **{name: values}), ignore_columns=(name,)) == ("width", "count", "is_old")


def test_all_of_them_are_in_one_error(tmp_path):
    path = table(tmp_path, row=np.arange(N), remark=["fine"] * N, target=DRAW.integers(0, 9, N))
    assert refused(path) == (
        f"{path} has columns that are not taken for features unasked: 'row' (it counts the rows), 'remark' (string, "
        "not numbers), 'target' (a label, by name); leave them out: --ignore-columns row,remark,target; --keep-columns "
        "NAME takes one for a feature after all"
    )


def test_of_names_it_is_said_that_samples_may_be_named_by_them_and_of_yes_and_no_that_they_may_be_checked(tmp_path):
    bottles = [f"b{number}" for number in range(N)]
    path = table(tmp_path, remark=["fine"] * N, bottle=bottles, verified=["yes", ""] * (N // 2))
    assert refused(path).endswith(
        "leave them out: --ignore-columns remark,bottle,verified; --id-column bottle names the samples by it; "
        "--meta-column verified, if it says of which rows the label was checked"
    )
    path = table(tmp_path, verified=DRAW.random(N) < 0.5)
    assert refused(path).endswith(
        "--ignore-columns verified; --meta-column verified, if it says of which rows the label was checked; "
        "--keep-columns NAME takes one for a feature after all"
    )
    path = table(tmp_path, remark=["f" * 100 + name for name in bottles], verified=["no"] * N)
    assert refused(path).endswith("leave them out: --ignore-columns remark,verified")


@pytest.mark.parametrize("name", ["id", "patient_id"])
def test_of_an_id_it_is_said_that_samples_may_be_named_by_it(tmp_path, name):
    path = table(tmp_path, **{name: [f"p{number}" for number in range(N)]})
    assert refused(path).endswith(
        f"leave them out: --ignore-columns {name}; --id-column {name} names the samples by it"
    )


def test_what_the_error_says_to_write_works(tmp_path):
    path = table(tmp_path, row=np.arange(N), remark=["fine"] * N, target=DRAW.integers(0, 9, N))
    for ignored in (("row,remark",), ("row", "remark")):
        given = features(path, ignore_columns=ignored, keep_columns=("target",))
        assert given == ("width", "count", "is_old", "target")


def test_a_column_whose_name_has_a_comma_is_one(tmp_path):
    path = table(tmp_path, **{"a,b": np.arange(N), "a": GOOD["width"], "b": GOOD["width"]})
    assert features(path, ignore_columns=("a,b",)) == ("width", "count", "is_old", "a", "b")


def test_named_features_are_taken_as_they_are(tmp_path):
    path = table(tmp_path, row=np.arange(N), remark=["fine"] * N)
    assert features(path, feature_columns=("row", "width")) == ("row", "width")
    assert features(path, feature_columns=("row,width",)) == ("row", "width")


def test_true_labels_count_as_well(tmp_path):
    path = table(tmp_path, given=agreeing(0.4), verdict=LABELS * 2)
    said = refused(path, label_column="given", true_label_column="label")
    assert "'verdict' (it determines the label)" in said


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("position_y", DRAW.integers(0, 9, N)),
        ("idea", DRAW.integers(0, 9, N)),
        ("test", DRAW.standard_normal(N)),
        ("test_positive", DRAW.random(N) < 0.5),
        ("clean_water", DRAW.random(N) < 0.5),
        ("subclass", DRAW.integers(0, 9, N)),
        ("passenger_class", DRAW.integers(0, 9, N)),
        ("same", np.zeros(N)),
        ("unequal", np.linspace(0, 1, N)),
        ("hint", agreeing(0.45)),
        ("sum", DRAW.permutation(N) * 3.0),
    ],
)
def test_what_may_well_be_a_feature_is_one(tmp_path, name, values):
    assert features(table(tmp_path, **{name: values})) == ("width", "count", "is_old", name)


def test_y_beside_x_is_a_place(tmp_path):
    path = table(tmp_path, x=GOOD["width"], y=GOOD["width"])
    assert features(path) == ("width", "count", "is_old", "x", "y")


def test_a_few_rows_show_nothing_by_their_values(tmp_path):
    assert features(write(tmp_path / "few.parquet", {"n": list(range(19)), "label": [0, 1] * 9 + [1]})) == ("n",)
    assert "it counts the rows" in refused(
        write(tmp_path / "more.parquet", {"n": list(range(20)), "label": [0, 1] * 10})
    )


@pytest.mark.parametrize("setting", ["ignore_columns", "keep_columns"])
def test_a_column_that_is_not_there(tmp_path, setting):
    assert "has no column 'mass'; its columns are width" in refused(table(tmp_path), **{setting: ("mass",)})


def test_a_column_that_is_there_twice(tmp_path):
    columns = [GOOD["width"], GOOD["width"], GOOD["label"]]
    path = tmp_path / "twice.parquet"
    pa.parquet.write_table(pa.Table.from_arrays(list(map(pa.array, columns)), ["a", "a", "label"]), path)
    assert refused(path) == f"{path} has 2 times the column 'a'; its columns are a, a, label"


def test_settings_that_contradict_each_other(tmp_path):
    path = table(tmp_path)
    assert refused(path, ignore_columns=("label",)) == (
        "ignore_columns holds 'label', which is a label, an id or a group, or says what was checked; leave it out, or "
        "name another column for that"
    )
    assert refused(path, ignore_columns=("count",), keep_columns=("count",)) == (
        "keep_columns holds 'count', which ignore_columns holds too; leave it out of one of them"
    )
    for setting in ("ignore_columns", "keep_columns"):
        assert refused(path, feature_columns=("width",), **{setting: ("count",)}) == (
            f"feature_columns names all features there are, so {setting} count means nothing beside it; give one of "
            "them"
        )


def test_a_trusted_set_has_the_features_of_the_training_split(tmp_path):
    path = table(tmp_path, row=np.arange(N))
    trusted = write(tmp_path / "trusted.parquet", {**{k: v[:9] for k, v in GOOD.items()}, "width": DRAW.random(9)})
    splits = prepare(DataConfig(data=str(path), ignore_columns=("row",), meta_data=str(trusted)), 0)
    assert splits.meta.inputs.shape == (3,)


# Ids that are strings

NAMES = [f"img_{n}.png" for n in DRAW.permutation(N)]


@pytest.mark.parametrize("backend", ["memory", "arrow", "ray"])
def test_string_ids_name_the_samples(tmp_path, backend):
    path = table(tmp_path, file=NAMES)
    config = DataConfig(
        data=str(path), id_column="file", data_backend=backend, data_cache=str(tmp_path / "cache"), meta_size=6
    )
    splits = prepare(config, 0)
    for samples in (splits.train, splits.validation, splits.meta, splits.test):
        rows = [NAMES.index(name) for name in samples.names.to_pylist()]
        assert samples.ids.tolist() == rows
        inputs = samples.inputs.take(np.arange(len(samples)))
        assert len(np.unique(inputs[:, 0])) == len(rows)
    by_width = np.argsort(GOOD["width"][splits.train.ids])
    assert (
        np.argsort(splits.train.inputs.take(np.arange(len(splits.train)))[:, 0].numpy()).tolist() == by_width.tolist()
    )


def test_a_column_of_this_name_is_the_id_whatever_it_holds(tmp_path):
    assert read(DataConfig(data=str(table(tmp_path, sample_id=NAMES)))).train.names.to_pylist() == NAMES
    assert read(DataConfig(data=str(table(tmp_path)))).train.names is None


def test_string_ids_go_on_over_the_files(tmp_path):
    table(tmp_path, "train-0.parquet", file=NAMES)
    table(tmp_path, "train-1.parquet", file=pa.array([f"b{n}" for n in range(N)]).dictionary_encode())
    table(tmp_path, "test.parquet", file=NAMES)
    raw = read(DataConfig(data=str(tmp_path), id_column="file"))
    assert raw.train.names.to_pylist() == [*NAMES, *(f"b{n}" for n in range(N))]
    assert raw.test.ids.tolist() == list(range(2 * N, 3 * N))


def test_string_ids_occur_once_and_are_in_the_errors(tmp_path):
    path = table(tmp_path, file=["a", "a", "b", "b", *NAMES[4:]])
    said = refused(path, id_column="file")
    assert said == (
        "sample ids must be unique, but a, b occur more than once; name another id_column, or number the rows anew"
    )
    path = table(tmp_path, file=NAMES, width=[float("nan"), *GOOD["width"][1:]])
    assert re.search(rf"row 0 of .* \(sample id {NAMES[0]}\) is missing, NaN", refused(path, id_column="file"))
    write(tmp_path / "mixed/train-0.parquet", {**GOOD, "file": NAMES})
    write(tmp_path / "mixed/train-1.parquet", {**GOOD, "file": np.arange(N)})
    assert refused(tmp_path / "mixed", id_column="file") == (
        "ids are strings in one file and integers in another of the same split; write them alike"
    )
