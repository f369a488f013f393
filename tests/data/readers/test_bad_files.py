"""What people's files have wrong with them, and what they are told."""

import json
import os
import pickle
import re
import tarfile
from contextlib import suppress
from pathlib import Path

import as_formats
import numpy as np
import pytest
from as_formats import config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_data import image_bytes, write

from ray_mentor.config import DataConfig
from ray_mentor.data import Samples
from ray_mentor.data.readers import read
from ray_mentor.data.splits.splits import prepare
from ray_mentor.errors import UserError


def fails(path, text, **settings):
    with pytest.raises(UserError, match=re.escape(text)):
        read(config(path, **settings))


def folder(path, *names, content=None):
    for place, name in enumerate(names):
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image_bytes(place) if content is None else content)
    return path


# A folder of images


def test_class_folders_are_classes_and_paths_are_ids(tmp_path):
    raw = read(config(folder(tmp_path, "dog/1.png", "cat/b/2.PNG", "cat/1.png")))
    assert raw.train.classes == ("cat", "dog")
    assert raw.train.names.to_pylist() == ["cat/1.png", "cat/b/2.PNG", "dog/1.png"]
    assert raw.train.labels.tolist() == [0, 0, 1]


def test_splits_above_them(tmp_path):
    raw = read(config(folder(tmp_path, "train/a/1.png", "train/b/2.png", "val/a/3.png", "test/b/4.png", "x/a/5.png")))
    assert [raw.train.names.to_pylist(), raw.validation.names.to_pylist(), raw.test.names.to_pylist()] == [
        ["train/a/1.png", "train/b/2.png"],
        ["val/a/3.png"],
        ["test/b/4.png"],
    ]
    assert raw.notes == ("left out 1 images that are in no class folder of a split: x/a/5.png",)


def test_a_class_may_be_called_train(tmp_path):
    raw = read(config(folder(tmp_path, "train/1.png", "train/2.png", "car/3.png")))
    assert raw.train.classes == ("car", "train")
    assert raw.test is None


def test_nor_is_a_folder_in_a_class_a_split(tmp_path):
    raw = read(config(folder(tmp_path, "trainers/old/1.png", "testudo/2.png", "values/a/3.png")))
    assert raw.train.classes == ("testudo", "trainers", "values")


def test_a_folder_around_it_is_passed_by(tmp_path):
    raw = read(config(folder(tmp_path, "photos/train/a/1.png", "photos/train/b/2.png", "photos/test/b/3.png")))
    assert raw.train.classes == ("a", "b")
    assert raw.test.names.to_pylist() == ["photos/test/b/3.png"]
    assert read(config(folder(tmp_path / "two", "photos/a/1.png", "photos/b/2.png"))).train.classes == ("a", "b")


def test_the_validation_split_stands_in_for_the_test_split(tmp_path):
    raw = read(config(folder(tmp_path, "train/a/1.png", "valid/a/3.png")))
    assert raw.validation is None
    assert raw.test.names.to_pylist() == ["valid/a/3.png"]
    assert raw.notes == ("no test* files: val* is the test split",)


def test_an_empty_class_folder(tmp_path):
    folder(tmp_path, "cat/1.png", "dog/notes.txt")
    (tmp_path / "ox").mkdir()
    fails(tmp_path, f"'{tmp_path}' has class folders without an image: dog, ox; put images there, or remove them")
    folder(tmp_path / "split", "train/cat/1.png", "test/cat/2.png")
    (tmp_path / "split/test/ox").mkdir()
    assert read(config(tmp_path / "split")).notes == ("class folders without an image: test/ox",)


def test_files_that_are_no_images_are_counted(tmp_path):
    folder(tmp_path, "cat/1.png", "dog/2.png")
    for name in ("cat/notes.txt", "cat/3.psd", "dog/.DS_Store", "README.md"):
        (tmp_path / name).write_text("x")
    assert read(config(tmp_path)).notes == (
        "left out 3 files that are no images by name: README.md, cat/3.psd, cat/notes.txt",
    )


def test_links_are_followed_but_not_in_a_circle(tmp_path):
    folder(tmp_path / "data", "cat/1.png")
    folder(tmp_path / "elsewhere", "2.png")
    (tmp_path / "data/dog").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "data/cat/all").symlink_to(tmp_path / "data", target_is_directory=True)
    assert read(config(tmp_path / "data")).train.names.to_pylist() == ["cat/1.png", "dog/2.png"]


def test_what_is_passed_over_is_said(tmp_path):
    """A class whose name begins with _, and a link whose image is gone, would be missed in silence."""
    data = folder(tmp_path / "data", "a/1.png", "b/2.png", "_rest/3.png", "__MACOSX/4.png", ".git/5.png", "a/x.heic")
    (data / "a/6.png").symlink_to(tmp_path / "gone.png")
    raw = read(config(data))
    assert raw.train.names.to_pylist() == ["a/1.png", "b/2.png"]
    assert raw.notes[:3] == (
        "left out 1 files that are no images by name: a/x.heic",
        "left out folders whose names begin with _: _rest; if those are classes, call them otherwise",
        "left out 1 link to what is not there: a/6.png",
    )


def test_a_folder_that_may_not_be_looked_into(tmp_path, monkeypatch):
    data = folder(tmp_path / "data", "a/1.png", "b/2.png")
    look = os.scandir

    def scandir(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", scandir)
    fails(data, f"the folder {data / 'b'} can't be read (Permission denied), so that it is not known what is in there")


def test_images_without_class_folders(tmp_path):
    fails(folder(tmp_path, "1.png", "2.png"), f"'{tmp_path}' holds 2 images, but no class folders; put each image into")
    said = "is one image, but data are many; name the folder that holds a folder for each class"
    fails(tmp_path / "1.png", f"'{tmp_path / '1.png'}' {said}")
    fails(folder(tmp_path / "t", "test/a/1.png", "test/b/1.png", "val/a/1.png"), "holds no training split, only the")


def test_a_broken_image_is_named(tmp_path):
    folder(tmp_path, "cat/1.png", "dog/2.png")
    folder(tmp_path, "dog/3.png", content=image_bytes(0)[:60])
    fails(tmp_path, f"the image in {tmp_path / 'dog/3.png'} can't be decoded (")


def test_columns_mean_nothing_to_a_folder(tmp_path):
    folder(tmp_path, "cat/1.png", "dog/2.png")
    said = (
        "label_column is 'kind', but {} is a folder of images, 2 files, which has no columns to choose from; leave it"
    )
    fails(tmp_path, said.format(tmp_path), label_column="kind")


@pytest.mark.parametrize("backend", ["memory", "ray"])
def test_names_that_a_uri_has_to_quote(tmp_path, backend):
    path = folder(tmp_path / "my photos", "big cat/a b (1).png", "big cat/50% #2?.png", "dog/3.png")
    uri = path.as_uri()
    raw = read(DataConfig(data=uri, data_backend=backend, data_cache=str(tmp_path / "cache")))
    assert raw.train.names.to_pylist() == ["big cat/50% #2?.png", "big cat/a b (1).png", "dog/3.png"]
    wanted = read(config(path)).train.inputs.values
    assert (raw.train.inputs.values[np.arange(3)] == wanted).all()
    csv(path, "path,label\nbig cat/a b (1).png,a\ndog/3.png,b\n")
    assert (read(DataConfig(data=uri, format="csv")).train.inputs.values == wanted[1:]).all()


def test_an_image_that_is_gone_later(tmp_path):
    raw = read(config(folder(tmp_path / "a", "cat/1.png", "dog/2.png"), data_backend="ray"))
    (tmp_path / "a/dog/2.png").unlink()
    with pytest.raises(UserError, match=re.escape("put back what is missing, or start another run")):
        raw.train.inputs.values[np.array([1])]


# What it is


def test_two_formats_in_one_folder(tmp_path):
    write(tmp_path / "a.parquet", {"x": [1.0, 2.0], "label": [0, 1]})
    (tmp_path / "b.csv").write_text("x,label\n3,0\n4,1\n5,1\n")
    said = f"'{tmp_path}' holds 1 files of Parquet and 1 files of CSV or TSV; say which are the data: --format parquet"
    fails(tmp_path, said)
    assert len(read(config(tmp_path, format="parquet")).train) == 2
    assert len(read(config(tmp_path, format="csv")).train) == 3
    fails(
        tmp_path,
        f"no JSONL file at '{tmp_path}'; name a file, or a folder that holds *.jsonl or *.ndjson",
        format="jsonl",
    )


def test_a_picture_beside_a_table_is_no_data(tmp_path):
    write(tmp_path / "a.parquet", {"x": [1.0, 2.0], "label": [0, 1]})
    folder(tmp_path, "logo.png")
    assert len(read(config(tmp_path)).train) == 2
    folder(tmp_path, "cat/1.png")
    fails(tmp_path, "say which are the data: --format parquet or --format images")


def test_a_list_of_images_beside_folders_that_may_be_classes(tmp_path):
    folder(tmp_path, "cat/1.png", "dog/2.png", "dog/3.png")
    (tmp_path / "labels.csv").write_text("file_name,label\ncat/1.png,a\ndog/3.png,b\n")
    fails(
        tmp_path,
        f"'{tmp_path}' holds 1 files of CSV or TSV and 3 files of images in folders; say which are the data: --format "
        "csv or --format images",
    )
    assert read(config(tmp_path, format="csv")).train.classes == ("a", "b")
    assert read(config(tmp_path, format="images")).train.classes == ("cat", "dog")


@pytest.mark.parametrize("names", [("1.png", "3.png"), ("all/1.png", "all/3.png"), ("train/1.png", "test/3.png")])
def test_a_list_of_images_goes_before_folders_that_are_no_classes(tmp_path, names):
    folder(tmp_path, *names)
    (tmp_path / "labels.csv").write_text(f"file_name,label\n{names[0]},a\n{names[1]},b\n")
    assert read(config(tmp_path)).train.classes == ("a", "b")


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("a.xlsx", "pandas.read_excel(FILE).to_csv(...) makes a CSV file of it"),
        ("a.csv.gz", "unpack it, and name the folder"),
        ("a.npy", "numpy.savez(FILE, inputs=..., labels=...) stores inputs and labels together"),
        ("a.PKL", "it is never loaded, since it could run code; write Parquet or .npz of it"),
    ],
)
def test_what_data_can_not_be(tmp_path, name, mend):
    path = csv(tmp_path, "x", name)
    fails(path, f"'{path}' is of none of the formats that data can be in; {mend}")


# Tables in text


def csv(tmp_path, text, name="own.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


CSV_ERRORS = [
    ("1.5,2,a\n2.5,3,b\n", "{} has no header: its first line must name the columns, but has values (1.5, 2); put a "
     "line of 3 names before it, such as x0,x1,label"),
    ("img/1.png,cat\nimg/2.png,dog\n", "{} has no header: its first line must name the columns, but has values (im"),
    ("", "{} is empty, but its first line must name the columns; put them there"),
    ("x,label\n1,a\n2\n3,b\n", "{} can't be read as CSV (CSV parse error: Row #3: Expected 2 columns, got 1: 2); mend "
     "that line, and save it as CSV again"),
    ("x,label\n1,a\n2,b,c\n", "{} can't be read as CSV (CSV parse error: Row #3: Expected 2 columns, got 3: 2,b,c)"),
    ("x,label\n1,\n2,b\n", "column 'label' is null in row 0 of {}, but every sample needs one; fill it in"),
    ("x,label\n,a\n2,b\n", "feature 'x' in row 0 of {} (sample id 0) is missing, NaN or too large for float32"),
    ("x,label\n1,caf\xe9\n2,b\n".encode("latin-1"), "column 'label' of {} is text in another encoding than UTF-8; s"),
    ("x,label\n", "{}: no rows, but at least one sample is needed"),
    ("x,label\n1,a\n".encode("utf-16"), "{} is text in UTF-16, as some programs save it; save it as UTF-8"),
    ("x,x,label\n1,2,a\n", "{} has 2 times the column 'x'; its columns are x, x, label"),
    ("x,kind\n1,a\n", "{} has no column 'label'; its columns are x, kind; name the one of given labels with --label"),
    ("x,class,target\n1,a,b\n", "{} has no column 'label', but 'class', 'target', each of which could be the label; "
     "say which is with --label-column"),
    ("x,day,label\n1,2020-01-01,a\n", "'day' (date32[day], not numbers)"),
    ("path,label\n1.png,a\n,b\n", "column 'path' is empty in row 1 of {}, but every sample needs an image; fill it in"),
    ("path,image,label\n1.png,1.png,a\n", "columns 'path', 'image' could each name the images; say which does with --"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), CSV_ERRORS)
def test_csv(tmp_path, text, said):
    path = csv(tmp_path, text)
    fails(path, said.format(path))


def test_numbered_columns_are_a_header(tmp_path):
    assert read(config(csv(tmp_path, "0,1,label\n5,6,a\n7,8,b\n"))).train.inputs.values.tolist() == [[5, 6], [7, 8]]


def test_the_label_goes_by_its_usual_names(tmp_path):
    path = csv(tmp_path, "x,Class\n5,a\n7,b\n")
    raw = read(config(path))
    assert raw.train.classes == ("a", "b")
    assert raw.understood == f"data: {path} (CSV, 1 file); train 2; 2 classes (column 'Class'): a 1, b 1; 1 feature"


def test_what_is_between_quotes_and_a_mark_at_the_beginning(tmp_path):
    raw = read(config(csv(tmp_path, '\ufeffx,label\n1,"a, or\nb"\n2,c\n'.encode())))
    assert raw.train.classes == ("a, or\nb", "c")


def test_names_that_look_like_numbers_are_kept_as_they_are_written(tmp_path):
    """Zip codes, say; in whichever file of a data set a name begins with 0."""
    path = tmp_path / "data"
    path.mkdir()
    csv(path, "x,month,label,sample_id\n1,03,110,01\n2,11,120,2\n", "train.csv")
    csv(path, 'x,month,label,sample_id\n3,04,"007",03\n4,10,110,44\n', "test.csv")
    raw = read(
        config(path),
    )
    assert raw.train.classes == ("007", "110", "120")
    assert [raw.train.labels.tolist(), raw.test.labels.tolist()] == [[1, 2], [0, 1]]
    assert [raw.train.names.to_pylist(), raw.test.names.to_pylist()] == [["01", "2"], ["03", "44"]]
    assert raw.train.inputs.values.tolist() == [[1, 3], [2, 11]], "amounts are amounts"
    plain = csv(tmp_path, "x,label\n1,0\n2,1\n3,2\n")
    assert read(config(plain)).train.classes == ("0", "1", "2")


@pytest.mark.parametrize("labels", [(7, 110), ("007", "110")])
def test_a_meta_set_whose_labels_lost_their_zeros(tmp_path, labels):
    """As a spreadsheet or pandas writes them."""
    path = csv(tmp_path, "x,label\n" + "".join(f"{x}.5,{('001', '007', '110')[x % 3]}\n" for x in range(60)))
    meta = csv(tmp_path, "x,label\n" + "".join(f"{100 + x}.5,{labels[x % 2]}\n" for x in range(6)), "meta.csv")
    splits = prepare(config(path, meta_data=str(meta), validation_share=0), 0)
    assert splits.meta.labels.tolist() == [1, 2] * 3
    assert splits.train.classes == ("001", "007", "110")
    other = csv(tmp_path, "x,label\n1,7\n2,8\n", "other.csv")
    with pytest.raises(UserError, match=r"label '8' in row 1 of .*other.csv \(sample id 1\) is none of the 3 classes"):
        prepare(config(path, meta_data=str(other)), 0)


def test_signs_and_numbers_far_apart_are_names_of_classes(tmp_path):
    rows = "".join(f"{x}.5,{(-1, 1)[x % 2]}\n" for x in range(60))
    path = csv(tmp_path, f"x,label\n{rows}")
    meta = csv(tmp_path, "x,label\n100.5,1\n101.5,-1\n102.5,1\n103.5,-1\n", "meta.csv")
    splits = prepare(config(path, meta_data=str(meta), validation_share=0), 0)
    assert splits.train.classes == ("-1", "1")
    assert splits.meta.labels.tolist() == [1, 0, 1, 0]
    raw = read(config(csv(tmp_path, "x,label,truth\n1,309,101\n2,101,101\n3,205,205\n"), true_label_column="truth"))
    assert raw.train.classes == ("101", "205", "309")
    assert [raw.train.labels.tolist(), raw.train.true_labels.tolist()] == [[2, 0, 1], [0, 0, 1]]
    assert read(config(csv(tmp_path, "x,label\n1,2\n2,1\n3,3\n"))).train.classes == ("1", "2", "3")
    assert read(config(csv(tmp_path, "x,label\n1,2\n2,1\n3,4\n"))).train.classes == ("0", "1", "2", "3", "4")


def test_whole_numbers_that_are_stored_as_floats_are_labels(tmp_path):
    """As pandas writes a column of which one was missing once."""
    raw = read(config(csv(tmp_path, "x,label\n1,0.0\n2,2.0\n3,1.0\n")))
    assert (raw.train.classes, raw.train.labels.tolist()) == (("0", "1", "2"), [0, 2, 1])
    path = write(tmp_path / "own.parquet", {"x": [1.5, 2.5], "label": [1.0, float("nan")]})
    fails(path, f"column 'label' is null in row 1 of {path}, but every sample needs one")
    fails(
        csv(tmp_path, "x,label\n1,0.5\n2,1.0\n"), "own.csv is double, but labels must be integers or strings; cast it"
    )


def test_decimal_commas(tmp_path):
    text = "width;height;kind;label\n1,5;2;1,234;1,5\n-,25;3;2,345;2\n;1e3;1;1,5\n"
    path = csv(tmp_path, text)
    fails(path, "'kind' (string, not numbers: '1,234')")
    raw = read(config(path, ignore_columns=("kind", "width")))
    assert raw.train.classes == ("1,5", "2"), "a label is no number"
    assert raw.train.inputs.values.tolist() == [[2], [3], [1000]]
    path = csv(tmp_path, text.replace("\n;", "\n4,0;"))
    raw = read(config(path, ignore_columns=("kind",)))
    assert raw.train.inputs.values.tolist() == [[1.5, 2], [-0.25, 3], [4, 1000]]
    assert raw.notes[0] == "commas are decimal points in 1 column: width"
    fails(csv(tmp_path, 'x,y,label\n"1,5",2.5,a\n"2,5",3,b\n'), "'x' (string, not numbers: '1,5'); leave them out")


@pytest.mark.parametrize(
    ("values", "shown"),
    [("1.5 ? 2.5", "'?'"), ('"13,450" "1,200" "3,000"', "'13,450'"), ("5% 7% 9%", "'5%'"), ("$3 $4.50 $5", "'$3'")],
)
def test_what_keeps_a_column_of_amounts_from_being_numbers_is_said(tmp_path, values, shown):
    rows = "".join(f"{x}.5,{value},{x % 2}\n" for x, value in enumerate(values.split()))
    fails(
        csv(tmp_path, f"x,price,label\n{rows}"),
        f"'price' (string, not numbers: {shown}); leave them out: --ignore-columns price; if they are amounts, write "
        "them as plain numbers (1234.5), and nothing where one is missing",
    )


def test_spaces_around_the_names_of_columns_and_pandas_index_without_one(tmp_path):
    raw = read(config(csv(tmp_path, ",x, width , label\n7,1,2,a\n3,4,5,b\n")))
    assert (raw.features, raw.train.classes) == (("x", "width"), ("a", "b"))
    assert raw.train.inputs.values.tolist() == [[1, 2], [4, 5]]
    raw = read(config(csv(tmp_path, "x, zip ,label\n1,01,a\n4,12,b\n"), id_column="zip"))
    assert raw.train.names.to_pylist() == ["01", "12"]


def test_a_file_whose_name_says_nothing(tmp_path):
    path = csv(tmp_path, "x,label\n1,a\n2,b\n", "own.txt")
    fails(path, f"'{path}' is of no format that its name tells, and no Parquet; if it is text, say which: --format csv")
    assert len(read(config(path, format="csv")).train) == 2
    assert len(read(config(write(tmp_path / "own", {"x": [1.5, 2.5], "label": [0, 1]}))).train) == 2


def test_labels_that_are_true_or_false_are_called_so(tmp_path):
    raw = read(config(csv(tmp_path, "x,label\n1,TRUE\n2,FALSE\n3,TRUE\n")))
    assert (raw.train.classes, raw.train.labels.tolist()) == (("false", "true"), [1, 0, 1])


def test_whole_numbers_that_turn_out_not_to_be(tmp_path):
    """Beyond the block that a reader looks at first."""
    path = csv(tmp_path, "x,label\n" + "1,a\n" * 400_000 + "1,b\n1.5,a\n1.5,b\n")
    assert read(config(path)).train.inputs.values[-1].tolist() == [1.5]


def test_paths_that_are_not_there(tmp_path):
    folder(tmp_path, "img/0.png")
    rows = "".join(f"img/{place}.png,{'ab'[place % 2]}\n" for place in range(9))
    path = csv(tmp_path, f"path,label\n{rows}")
    fails(
        path,
        f"8 of 9 images that column 'path' of {path} names are not there: img/1.png, img/2.png, img/3.png, img/4.png, "
        f"img/5.png, ...; paths are absolute, or relative to {tmp_path}: mend them, or leave out the rows; "
        "--ignore-columns path if it names no images",
    )


def test_a_column_that_only_sounds_like_paths(tmp_path):
    path = csv(tmp_path, "file,x,label\nmonday,1,a\ntuesday,2,b\n")
    fails(path, "2 of 2 images that column 'file' of ")
    assert read(config(path, ignore_columns=("file",))).train.inputs.values.tolist() == [[1], [2]]
    assert read(config(path, feature_columns=("x",))).train.inputs.shape == (1,)


def test_absolute_paths_and_ids_by_path(tmp_path):
    folder(tmp_path / "far", "0.png", "1.png")
    path = csv(tmp_path, f"photo,label\n{tmp_path}/far/0.png,a\nfar/1.png,b\n")
    raw = read(config(path, id_column="photo"))
    assert raw.train.names.to_pylist() == [f"{tmp_path}/far/0.png", "far/1.png"]
    folder(tmp_path / "far", "1.png", content=b"no image")
    fails(path, f"the image in {tmp_path / 'far/1.png'} (row 1 of {path} (sample id 1)) can't be decoded (none of")


JSON_ERRORS = [
    ('[{"x": 1, "label": 0}]', "{} is an array of JSON, but JSONL has an object a line; write it so"),
    ('{"x": 1, "label": 0}\n{"x": 1,\n', "{} can't be read as JSONL (JSON parse error: "),
    ('{"x": 1, "label": 0}\n{"label": 1}\n', "feature 'x' in row 1 of {} (sample id 1) is missing, NaN or too large"),
    (
        '{"x": 1, "label": 0}\n{"x": "a", "label": 1}\n',
        "{} can't be read as JSONL (JSON parse error: Column(/x) changed",
    ),
    ("", "{} can't be read as JSONL (Empty JSON file); "),
]


def test_json_by_another_ending(tmp_path):
    rows = "".join(json.dumps({"x": place, "label": "ab"[place % 2]}) + "\n" for place in range(4))
    assert read(config(csv(tmp_path, rows, "own.json"))).train.classes == ("a", "b")


@pytest.mark.parametrize(("text", "said"), JSON_ERRORS)
def test_jsonl(tmp_path, text, said):
    path = csv(tmp_path, text, "own.jsonl")
    fails(path, said.format(path))


# .npz


class Trap:
    """A pickle that writes a file where it is loaded."""

    def __init__(self, path="sprung"):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


INPUTS, LABELS = np.zeros((4, 2)), np.array([0, 1, 0, 1])
NPZ_ERRORS = [
    (
        {"inputs": INPUTS, "classes": LABELS},
        "{} is NumPy .npz, 1 file, without labels; store them with the inputs, as `labels`, `y`, ...",
    ),
    ({"a": INPUTS, "b": LABELS}, "{} has the arrays a, b, but needs inputs (or x, images, features, data) and labels"),
    (
        {"x": INPUTS, "images": INPUTS, "y": LABELS},
        "{} has 'x' and 'images', each of which could be the inputs; leave one",
    ),
    ({"x": INPUTS, "y": LABELS[:3]}, "{} has 4 x, but 3 y; give one for each"),
    (
        {"x": np.zeros((4, 2, 2)), "y": LABELS},
        "array 'x' of {} is float64 of shape (4, 2, 2), but inputs must be features",
    ),
    (
        {"x": np.full((4, 2, 2), 16.0), "y": LABELS},
        '; (x / x.max() * 255).astype("uint8") makes images of amounts from 0 on, x.reshape(len(x), -1) features',
    ),
    ({"x": np.full((4, 2, 2), 16), "y": LABELS}, '; x.astype("uint8") makes images of amounts from 0 on, x.reshape('),
    ({"x": np.zeros((4, 2, 2)), "y": LABELS}, '; x.astype("uint8") makes images of amounts from 0 on, x.reshape('),
    ({"x": np.full((4, 2, 2), -1.0), "y": LABELS}, "(N, H, W) or (N, H, W, C); store them so"),
    ({"x": np.full((4, 2, 2), 256), "y": LABELS}, '; (x / x.max() * 255).astype("uint8") makes images'),
    ({"x": np.zeros((4, 3, 8, 8), np.uint8), "y": LABELS}, "transpose(0, 2, 3, 1) brings channels to the end"),
    (
        {"x": INPUTS, "y": np.eye(4)},
        "array 'y' of {} has shape (4, 4), but must be in one row; argmax(1) makes classes",
    ),
    (
        {"x": INPUTS, "y": np.array([Trap()] * 4)},
        "array 'y' of {} holds Python objects, which are never loaded: they can",
    ),
    ({"x": INPUTS, "y": LABELS + 0j}, "array 'y' of {} is complex128, but must be integers or strings; store them so"),
    ({"x": INPUTS, "y": LABELS + 0.5}, "labels must be integers or strings; cast it"),
    (
        {"x_test": INPUTS, "y_test": LABELS, "x_val": INPUTS, "y_val": LABELS},
        "holds no training split, only test, valid",
    ),
]


@pytest.mark.parametrize(("arrays", "said"), NPZ_ERRORS)
def test_npz(tmp_path, arrays, said):
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)
    fails(path, said.format(path))


def test_a_pickle_in_an_npz_is_not_run(tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, x=INPUTS, y=LABELS)
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    fails(path, f"{path} can't be read as NumPy .npz (")
    np.savez(path, x=INPUTS, y=np.array([Trap(tmp_path / "sprung")] * 4))
    fails(path, "holds Python objects, which are never loaded: they can run code; store numbers or strings")
    assert not (tmp_path / "sprung").exists()


def test_labels_in_a_column_as_keras_has_them(tmp_path):
    np.savez(tmp_path / "own.npz", x_train=np.zeros((4, 5, 6), np.uint8), y_train=LABELS[:, None])
    raw = read(config(tmp_path / "own.npz"))
    assert raw.train.inputs.shape == (1, 5, 6)
    assert raw.train.labels.tolist() == LABELS.tolist()


# What Hugging Face's save_to_disk and WebDataset write


def test_a_saved_dataset_that_lacks_a_file(tmp_path):
    path = as_formats.saved_dataset(tmp_path / "a", as_formats.images())
    (path / "train/data-00000-of-00002.arrow").unlink()
    fails(path, f"{path / 'train/data-00000-of-00002.arrow'} can't be read as an Arrow stream (")
    (path / "test/state.json").write_text("[]")
    fails(path, f"{path / 'test/state.json'} is not there, or not what save_to_disk writes; save the data set anew")


def test_tar_files(tmp_path):
    path = tmp_path / "own.tar"
    with tarfile.open(path, "w") as archive:
        as_formats.add(archive, "1.txt", b"x")
    fails(path, f"{path} holds no image; a sample is an image and its label, 7.jpg and 7.cls or 7.json")
    path.write_bytes(b"x" * 2000)
    fails(path, f"{path} can't be read as WebDataset (")
    with tarfile.open(path, "w") as archive:
        as_formats.add(archive, "1.png", image_bytes(1))
        as_formats.add(archive, "1.cls", b"0")
        as_formats.add(archive, "2.png", image_bytes(2))
    fails(path, f"column 'label' is null in row 1 of {path} (sample id 2), but every sample needs one")
    with tarfile.open(path, "w") as archive:
        as_formats.add(archive, "1.png", image_bytes(1))
        as_formats.add(archive, "1.json", b'{"label": "a", "checked": true, "more": [1, 2], "width": 3}')
    assert read(config(path, meta_column="checked")).checked.tolist() == [True]


def test_labels_in_a_tar_file_without_an_image_are_said(tmp_path):
    """A link is no image either, wherever it points; nor what has a dot too many in its name."""
    path = tmp_path / "own.tar"
    with tarfile.open(path, "w") as archive:
        for key in ("1", "2", "3.v2"):
            as_formats.add(archive, f"{key}.cls", b"0")
            if key != "2":
                as_formats.add(archive, f"{key}.png", image_bytes(1))
        link = tarfile.TarInfo("4.png")
        link.type, link.linkname = tarfile.SYMTYPE, "../1.png"
        archive.addfile(link)
        as_formats.add(archive, "4.cls", b"0")
        as_formats.add(archive, "README.txt", b"")
    raw = read(config(path))
    assert raw.train.names.to_pylist() == ["1"]
    assert raw.notes == (
        "left out 2 samples without an image in the file: 2, 4",
        "left out 1 image with a dot too many in the name: 3.v2.png",
    )


def shard(path, *keys, first=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for place, key in enumerate(keys, first):
            as_formats.add(archive, f"{key}.png", image_bytes(place))
            as_formats.add(archive, f"{key}.cls", str(place % 2).encode())


def test_shards_that_each_count_from_0(tmp_path):
    shard(tmp_path / "train/0.tar", "0", "1")
    shard(tmp_path / "train/1.TAR", "0", "1", first=2)
    shard(tmp_path / "test/0.tar", "0", "2", first=4)
    raw = read(config(tmp_path))
    assert raw.train.names.to_pylist() == ["train/0/0", "train/0/1", "train/1/0", "train/1/1"]
    assert raw.test.names.to_pylist() == ["test/0/0", "test/0/2"]
    assert raw.notes[0] == "some keys occur in several shards, so sample ids are SHARD/KEY"
    assert raw.train.labels.tolist() == [0, 1, 0, 1]
    shard(tmp_path / "train/1.TAR", "3", "4", first=2)
    shard(tmp_path / "test/0.tar", "5", first=4)
    assert read(config(tmp_path)).train.names.to_pylist() == ["0", "1", "3", "4"]


def test_a_key_that_comes_again_in_a_shard(tmp_path):
    shard(tmp_path / "own.tar", "0", "1", "0")
    fails(
        tmp_path / "own.tar",
        f"{tmp_path / 'own.tar'} holds '0' more than once (1 such), but members of one name are a sample, and lie one "
        "after the other; write the file anew, in order of names",
    )


def test_labels_in_a_tar_file_keep_their_zeros(tmp_path):
    path = tmp_path / "own.tar"
    with tarfile.open(path, "w") as archive:
        for place, label in enumerate(["110", "007", "12"]):
            as_formats.add(archive, f"{place}.png", image_bytes(place))
            as_formats.add(archive, f"{place}.cls", label.encode())
    assert read(config(path)).train.classes == ("007", "110", "12")


@pytest.mark.parametrize("label", ["--5", "9" * 30])
def test_labels_in_a_tar_file_that_are_hardly_numbers(tmp_path, label):
    path = tmp_path / "own.tar"
    with tarfile.open(path, "w") as archive:
        as_formats.add(archive, "1.png", image_bytes(1))
        as_formats.add(archive, "1.cls", label.encode())
    assert read(config(path)).train.classes == (label,)
    with tarfile.open(path, "a") as archive:
        as_formats.add(archive, "2.png", image_bytes(2))
        as_formats.add(archive, "2.json", f'{{"label": {10**30}}}'.encode())
    fails(path, f"{path} has labels of different kinds (")


# Labels


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["cat", "Cat", "dog", "dog "], "warning: labels that differ by spaces or case alone are different classes: "
         "'Cat' and 'cat', 'dog' and 'dog '; write them alike"),
        (["cat", " ox", "dog", "dog"], "warning: labels with spaces before or behind them: ' ox'"),
    ],
)  # fmt: skip
def test_labels_that_look_alike_are_said_and_not_merged(tmp_path, labels, said):
    raw = read(config(write(tmp_path / "a.parquet", {"x": [1.0, 2.0, 3.0, 4.0], "label": labels})))
    assert said in raw.notes
    assert len(raw.train.classes) == len(set(labels))


def test_a_list_of_images_without_the_labels_names_its_own_columns(tmp_path):
    folder(tmp_path, "photos/1.png", "photos/2.png")
    (tmp_path / "listed.csv").write_text("picture,kind\nphotos/1.png,cat\nphotos/2.png,dog\n")
    with pytest.raises(UserError) as raised:
        read(config(tmp_path / "listed.csv"))
    assert "has no column 'label'; its columns are picture, kind; name the one of" in str(raised.value)
    assert len(read(config(tmp_path / "listed.csv", label_column="kind")).train) == 2


def test_classes_that_training_lacks(tmp_path):
    folder(tmp_path, "train/cat/1.png", "train/dog/2.png", "test/ox/3.png", "test/cat/4.png")
    assert read(config(tmp_path)).notes == (
        "warning: the training split has no sample of 1 classes of the test split (ox), so none of its 1 samples of "
        "them can be got right",
    )


# Whatever is in a file


def _written(kind, path):
    tables = {"train": as_formats.features()["train"].drop(columns="truth")}
    if kind == "webdataset":
        return next(as_formats.webdataset(path, {"train": as_formats.images()["train"][:6]}).glob("*.tar"))
    if kind == "saved dataset":
        return next((as_formats.saved_dataset(path, tables) / "train").glob("*.arrow"))
    if kind == "state":
        as_formats.saved_dataset(path, tables)
        return path / "train/state.json"
    if kind == "npz":
        x, y = np.arange(60.0).reshape(30, 2), np.arange(30) % 3
        path.mkdir()
        np.savez(path / "own.npz", x=x, y=y)
        return path / "own.npz"
    return next(as_formats.OF_FEATURES[kind](path, tables).glob("*"))


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "npz", "saved dataset", "state", "webdataset"])
def test_a_damaged_file_gives_samples_or_a_user_error(tmp_path_factory, kind, place, byte, cut):
    path = tmp_path_factory.mktemp("damaged")
    file = _written(kind, path / "own")
    content = bytearray(file.read_bytes())
    at = int(place * len(content))
    content[at] = byte
    file.write_bytes(content[:at] if cut else content)
    with suppress(UserError):
        assert isinstance(read(config(path / "own")).train, Samples)


def test_classes_some_of_which_are_numbers_are_found_by_name(tmp_path):
    """A part of the data may hold those alone; they were taken for places among the names."""
    path = csv(tmp_path, "x,label\n" + "".join(f"{x}.5,{('1', '2', 'unknown')[x % 3]}\n" for x in range(60)))
    meta = csv(tmp_path, "x,label\n" + "".join(f"{100 + x}.5,{1 + x % 2}\n" for x in range(6)), "meta.csv")
    splits = prepare(config(path, meta_data=str(meta), validation_share=0), 0)
    assert splits.train.classes == ("1", "2", "unknown")
    assert splits.meta.labels.tolist() == [0, 1] * 3


def test_zeros_that_classes_have_lost_are_found_by_number(tmp_path):
    path = csv(tmp_path, "x,label\n" + "".join(f"{x}.5,{(7, 12, 310)[x % 3]}\n" for x in range(60)))
    meta = csv(tmp_path, "x,label\n" + "".join(f"{100 + x}.5,{('007', '012')[x % 2]}\n" for x in range(6)), "meta.csv")
    splits = prepare(config(path, meta_data=str(meta), validation_share=0), 0)
    assert [splits.meta.classes[label] for label in splits.meta.labels.tolist()] == ["7", "12"] * 3


@pytest.mark.parametrize("missing", ["NA", "", "NaN"])
def test_a_missing_label_among_numbers_that_are_names_is_no_class(tmp_path, missing):
    path = csv(tmp_path, f"x,label\n1,007\n2,{missing}\n3,1\n")
    fails(path, "column 'label' is null in row 1")


def test_zeros_behind_spaces(tmp_path):
    path = csv(tmp_path, "x,label\n1, 007\n2, 012\n3, 300\n")
    assert read(config(path)).train.classes == ("007", "012", "300")


def test_zeros_in_one_of_several_tar_files(tmp_path):
    for name, labels in {"a": ["007", "012"], "b": ["100", "200"]}.items():
        with tarfile.open(tmp_path / f"{name}.tar", "w") as archive:
            for place, label in enumerate(labels):
                as_formats.add(archive, f"{name}{place}.png", image_bytes(place))
                as_formats.add(archive, f"{name}{place}.cls", label.encode())
    assert read(config(tmp_path)).train.classes == ("007", "012", "100", "200")
