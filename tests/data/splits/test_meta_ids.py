"""Which samples were checked, said by their ids: they are the meta set, and leave the training split."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_data import write

from ray_mentor.config import DataConfig
from ray_mentor.data import prepare
from ray_mentor.errors import UserError

CLASSES = ("ant", "bee", "cow")


def table(n, first=0, **more):
    rows = range(first, first + n)
    return {"x": [row + 0.5 for row in rows], "label": [CLASSES[row % 3] for row in rows], **more}


def text(path, content):
    path.write_text(content, encoding="utf-8")
    return str(path)


@pytest.fixture
def data(tmp_path):
    return str(write(tmp_path / "data.parquet", table(90)))


def splits_of(data, ids, **more):
    return prepare(DataConfig(data=data, meta_ids=str(ids), **more), 0)


def refusal(data, ids, **more):
    with pytest.raises(UserError) as raised:
        splits_of(data, ids, **more)
    return str(raised.value)


def test_checked_rows_are_the_meta_set_and_leave_training(data, tmp_path):
    ids = text(tmp_path / "ids.txt", "7\n31\n\n 8 \n7\n")
    for seed in range(12):  # whatever is drawn
        splits = prepare(DataConfig(data=data, meta_ids=ids), seed)
        assert splits.meta.ids.tolist() == [7, 8, 31]
        assert splits.meta.labels.tolist() == [1, 2, 1]
        others = np.concatenate([splits.train.ids, splits.validation.ids, splits.test.ids])
        assert sorted([*others, 7, 8, 31]) == list(range(90))
        assert np.isclose(splits.meta.inputs.scaled(splits.train.inputs.scale).take(np.array([0])).item(),
                          (7.5 - splits.train.inputs.scale[0]) / splits.train.inputs.scale[1])  # fmt: skip
    assert f"3 samples of the training split are the meta set, as {ids} says" in splits.notes


def test_the_label_that_was_found_takes_the_place_of_the_given_one(data, tmp_path):
    ids = text(
        tmp_path / "ids.csv",
        "sample_id,given_label,checked_label,label\n7,bee,bee,ant\n8,cow, ant ,cow\n31,bee,,bee\n40,bee,  ,bee\n",
    )
    splits = splits_of(data, ids)
    assert splits.meta.ids.tolist() == [7, 8]
    assert splits.meta.labels.tolist() == [1, 0]
    assert "1 of 2 checked samples have another label than the given one" in splits.notes
    assert "left out 2 of meta_ids that have no checked label yet" in splits.notes
    assert {31, 40} <= {*splits.train.ids, *splits.validation.ids, *splits.test.ids}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_as_spreadsheets_write_them(data, tmp_path, separator):
    """A byte order mark, semicolons, Windows' line ends, quotes, a comma in a cell."""
    content = '"sample_id",note,label\r\n8,"a, b; c\td",ant\r\n'.replace(",note,", f"{separator}note{separator}")
    content = content.replace('8,"', f'8{separator}"').replace('",ant', f'"{separator}ant')
    path = tmp_path / "ids.csv"
    path.write_bytes(content.encode("utf-8-sig"))
    splits = splits_of(data, path)
    assert (splits.meta.ids.tolist(), splits.meta.labels.tolist()) == ([8], [0])


def test_ids_and_labels_by_the_names_that_the_data_have_for_them(tmp_path):
    names = [f"0{row}" for row in range(60)]
    values = {"x": [row + 0.5 for row in range(60)], "kind": [CLASSES[row % 3] for row in range(60)], "photo": names}
    data = str(write(tmp_path / "data.parquet", values))
    ids = write(tmp_path / "ids.parquet", {"photo": ["05", "011"], "label": [9, 9], "kind": ["cow", "ant"]})
    splits = splits_of(data, ids, id_column="photo", label_column="kind")
    assert splits.meta.names.to_pylist() == ["05", "011"]
    assert splits.meta.labels.tolist() == [2, 0]


def test_numbers_for_classes(tmp_path):
    """Pandas writes 2 as 2.0 where a cell of the column is empty; a class with a name also has a number."""
    numbered = str(write(tmp_path / "numbered.parquet", {"x": [i + 0.5 for i in range(60)], "label": [0, 1, 2] * 20}))
    ids = text(tmp_path / "ids.csv", "sample_id,label\n3,2.0\n4,\n5,0.0\n")
    assert splits_of(numbered, ids).meta.labels.tolist() == [2, 0]
    named = str(write(tmp_path / "named.parquet", table(60)))
    stored = write(tmp_path / "ids.parquet", {"sample_id": [3, 4], "label": [2, 1]})
    assert splits_of(named, stored).meta.labels.tolist() == [2, 1]
    years = {"x": [i + 0.5 for i in range(60)], "label": ["10", "20", "30"] * 20}
    odd = str(write(tmp_path / "years.parquet", years))
    assert "'2', '0' are none of the 3 classes (10, 20, 30)" in refusal(odd, text(tmp_path / "i.csv", ids_of("2", "0")))


def ids_of(*labels):
    return "sample_id,label\n" + "".join(f"{row},{label}\n" for row, label in enumerate(labels))


def test_true_labels_are_what_was_found_where_they_are_known(tmp_path):
    truth = [CLASSES[(row + 1) % 3] for row in range(90)]
    data = str(write(tmp_path / "data.parquet", table(90, truth=truth)))
    ids = text(tmp_path / "ids.txt", "0\n1\n2\n")
    splits = splits_of(data, ids, true_label_column="truth")
    assert splits.meta.labels.tolist() == [1, 2, 0]
    assert splits.meta.true_labels is None


def test_digits_have_them_before_their_noise(tmp_path):
    ids = text(tmp_path / "ids.txt", "\n".join(map(str, range(200))))
    splits = prepare(DataConfig(meta_ids=ids), 3)
    assert len(splits.meta) == 200
    assert splits.meta.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 1597


def test_copies_of_checked_samples_leave_training_too(tmp_path):
    values = [row % 60 + 0.5 for row in range(90)]
    data = str(write(tmp_path / "data.parquet", {"x": values, "label": [CLASSES[row % 3] for row in range(90)]}))
    splits = splits_of(data, text(tmp_path / "ids.txt", "3\n75\n40"))
    assert splits.meta.ids.tolist() == [3, 40, 75]
    left = {*splits.train.ids, *splits.validation.ids, *splits.test.ids}
    assert not left & {3, 63, 15, 75, 40}
    assert len(left) == 85
    assert "left out 2 training samples that are copies of meta samples (same content)" in splits.notes


def test_copies_that_have_another_label_than_was_found_are_said(tmp_path):
    values = [row % 60 + 0.5 for row in range(90)]
    data = str(write(tmp_path / "data.parquet", {"x": values, "label": [CLASSES[row % 3] for row in range(90)]}))
    ids = text(tmp_path / "ids.csv", f"sample_id,checked_label\n3,{CLASSES[1]}\n4,{CLASSES[1]}\n")
    said = f"; 1 of them has another label there: 63 ({CLASSES[0]}, there {CLASSES[1]})"
    notes = splits_of(data, ids).notes
    assert f"left out 2 training samples that are copies of meta samples (same content){said}" in notes


def test_rows_of_the_test_split_are_left_out_with_a_warning(tmp_path):
    write(tmp_path / "data/train.parquet", table(60))
    write(tmp_path / "data/valid.parquet", table(20, 100))
    values = table(30, 200)
    values["x"][4] = 7.5  # a copy of row 7 of the training split
    write(tmp_path / "data/test.parquet", values)
    ids = text(tmp_path / "ids.txt", "5\n7\n60\n85\n86")  # 60 to 79: the validation split; 80 on: the test split
    splits = splits_of(str(tmp_path / "data"), ids)
    assert splits.meta.ids.tolist() == [5]
    assert "warning: left out 1 id of meta_ids that the validation split has (60)" in splits.notes
    assert "warning: left out 2 ids of meta_ids that the test split has (85, 86)" in splits.notes
    assert "warning: left out 1 meta samples that are in the test split too (same content)" in splits.notes
    assert len(splits.test) == 30


def test_missing_classes_are_named_with_the_setting_that_lacks_them(data, tmp_path):
    splits = splits_of(data, text(tmp_path / "ids.txt", "0\n1"))
    assert splits.notes[-1] == (
        "warning: the meta set of 2 has no sample of 1 of 3 classes (cow), so the mentor learns nothing of them; add "
        "them to --meta-ids"
    )


def test_ids_that_do_not_occur(data, tmp_path):
    ids = text(tmp_path / "ids.txt", "3\n-1\n90\nx7\n4.0\n99999999999999999999\n91\n")
    assert refusal(data, ids) == (
        f"meta_ids '{ids}': no sample has the id '-1', '90', 'x7', '4.0', '99999999999999999999', ... (6 of 7 such); "
        "ids of these data are like 0, 1, 2; mend them, or name the column that has them with --id-column"
    )


def test_a_text_of_any_length_may_stand_beside_an_id(data, tmp_path):
    long = "\n".join(["x" * 1000] * 3000)
    ids = text(tmp_path / "ids.csv", f'sample_id,checked_label,text\n7,ant,"{long}"\n8,cow,short\n31,bee,"{long}"\n')
    assert splits_of(data, ids).meta.ids.tolist() == [7, 8, 31]


def test_what_is_wrong_with_labels(data, tmp_path):
    twice = text(tmp_path / "twice.csv", "sample_id,label\n3,ant\n3,bee\n4,bee\n4,bee \n")
    assert refusal(data, twice) == (f"meta_ids '{twice}': 3 has two different labels there (1 such); leave one of them")
    case = text(tmp_path / "case.csv", ids_of("Ant", "wasp", "bee"))
    assert refusal(data, case) == (
        f"meta_ids '{case}': 'Ant', 'wasp' are none of the 3 classes (ant, bee, cow); is 'ant' meant; mend it, or "
        "leave the label empty"
    )
    empty = text(tmp_path / "empty.csv", "sample_id,given_label,checked_label\n3,ant,\n4,bee,\n")
    assert refusal(data, empty) == (
        f"meta_ids '{empty}' names no sample that was checked (none of its 2 rows has a label); write down ids and, "
        "where there is a column for it (checked_label), the label that each was found to have"
    )


def test_what_is_wrong_with_files(data, tmp_path):
    assert refusal(data, "nowhere.txt") == (
        "meta_ids is 'nowhere.txt', but it can't be read (there is no such file); give a file of the ids that were "
        "checked"
    )
    assert "it can't be read (there is no such file)" in refusal(data, tmp_path)
    assert "names no sample that was checked (it is empty)" in refusal(data, text(tmp_path / "no.txt", "\n"))
    bare = text(tmp_path / "bare.csv", "3\n4\n")
    assert refusal(data, bare) == (
        f"meta_ids '{bare}' has no column 'sample_id'; its columns are 3; name the column of ids so (ids alone, one a "
        "line, go into a .txt)"
    )
    bottles = {"bottle": [f"b{row}" for row in range(90)]}
    named = str(write(tmp_path / "named.parquet", table(90, **bottles)))
    ids = text(tmp_path / "bottles.csv", "x,bottle,label\n1,b3,ant\n2,b4,bee\n")
    assert refusal(named, ids, ignore_columns=("bottle",)) == (
        f"meta_ids '{ids}' has no column 'sample_id'; its columns are x, bottle, label; --id-column bottle takes that "
        "of the data for the ids, or name the column of ids so (ids alone, one a line, go into a .txt)"
    )
    assert len(splits_of(named, ids, id_column="bottle").meta) == 2
    ragged = text(tmp_path / "ragged.csv", "sample_id,label\n3,ant,x\n")
    assert "can't be read as a table (" in refusal(data, ragged)
    (tmp_path / "latin.csv").write_bytes("sample_id,label\n3,Bär\n".encode("latin-1"))
    assert "can't be read as a table (" in refusal(data, tmp_path / "latin.csv")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    assert "can't be read as a table (" in refusal(data, tmp_path / "broken.parquet")
    pq.write_table(pa.table({"sample_id": [3.5]}), tmp_path / "float.parquet")
    assert "column 'sample_id' of meta_ids " in refusal(data, tmp_path / "float.parquet")


SAID = {
    "bool": [True, False, None, False],
    "int": [1, 0, 0, None],
    "float": [1.0, 0.0, None, float(0)],
    "text": [" YES", "no", "", None],
    "words": ["True", "FALSE", "n", "0"],
}


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("backend", ["memory", "arrow"])
def test_a_column_says_which_were_checked(tmp_path, kind, backend):
    """It is no feature, and need not be in the test split."""
    write(tmp_path / "data/train.parquet", table(80, verified=SAID[kind] * 20, other=[i % 7 / 2 for i in range(80)]))
    write(tmp_path / "data/test.parquet", table(30, 200, other=[i % 7 / 2 for i in range(30)]))
    config = DataConfig(data=str(tmp_path / "data"), meta_column="verified", data_backend=backend,
                        data_cache=str(tmp_path / "cache"))  # fmt: skip
    splits = prepare(config, 0)
    assert splits.meta.ids.tolist() == list(range(0, 80, 4))
    assert splits.meta.labels.tolist() == [row % 3 for row in range(0, 80, 4)]
    assert not np.isin(np.concatenate([splits.train.ids, splits.validation.ids]) % 4, 0).any()
    assert splits.train.inputs.shape == (2,)
    assert "20 samples of the training split are the meta set, as column verified says" in splits.notes


def test_what_is_wrong_with_a_column_of_what_was_checked(data, tmp_path):
    def said(values, **more):
        path = str(write(tmp_path / "c.parquet", table(60, verified=values)))
        with pytest.raises(UserError) as raised:
            prepare(DataConfig(data=path, meta_column="verified", **more), 0)
        return str(raised.value).replace(path, "FILE")

    assert said(["yes", "no", "perhaps"] * 20) == (
        "column 'verified' is 'perhaps' in row 2 of FILE, but what was checked is said by true and false, 1 and 0, or "
        "yes and no; mend it (20 such)"
    )
    assert "is '2' in row 0 of FILE" in said([2] * 60)
    assert said([b"yes"] * 60) == (
        "column 'verified' of FILE is binary, but what was checked is said by true and false, 1 and 0, or yes and no; "
        "name another meta_column"
    )
    assert said([False] * 60) == (
        "meta_column is 'verified', but it is true in none of the 60 training rows; say there which were checked, or "
        "name another"
    )
    assert "ignore_columns holds 'verified', which is a label, an id or a group, or says what was checked" in said(
        [True] * 60, ignore_columns=("verified",)
    )
    with pytest.raises(UserError, match=r"has no column 'verified'; its columns are x, label"):
        prepare(DataConfig(data=data, meta_column="verified"), 0)
    with pytest.raises(UserError, match=r"^meta_column is .verified., but digits has no columns; leave"):
        prepare(DataConfig(meta_column="verified"), 0)
    with pytest.raises(UserError, match=r"meta_column is .verified., but there is one trusted"):
        DataConfig(meta_ids="a.txt", meta_column="verified")


@pytest.mark.parametrize("more", [{"meta_data": "b.parquet"}, {"meta_size": 50}, {"meta_size": 0}])
def test_one_trusted_set(more):
    name, value = next(iter(more.items()))
    order = (f"{name} is {value!r} and meta_ids is 'a.txt'", f"meta_ids is 'a.txt' and {name} is {value!r}")
    text = f"{order[name != 'meta_data']}, but there is one trusted set; give one of them"
    with pytest.raises(UserError, match=f"^{re.escape(text)}$"):
        DataConfig(meta_ids="a.txt", **more)


def test_the_backends_say_the_same(data, tmp_path):
    ids = text(tmp_path / "ids.csv", "sample_id,label\n3,cow\n40,\n12,ant\n")
    found = {
        backend: splits_of(data, ids, data_backend=backend, data_cache=str(tmp_path / "cache"))
        for backend in ("memory", "arrow", "ray")
    }
    for splits in found.values():
        assert splits.meta.ids.tolist() == [3, 12]
        assert splits.meta.labels.tolist() == [2, 0]
        assert splits.train.ids.tolist() == found["memory"].train.ids.tolist()
        assert (splits.meta.inputs.take(np.arange(2)) == found["memory"].meta.inputs.take(np.arange(2))).all()
