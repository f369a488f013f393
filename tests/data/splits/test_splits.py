import dataclasses
import re
from itertools import combinations

import numpy as np
import pytest
from small_data import image_bytes, write

from ray_mentor.config import DataConfig
from ray_mentor.data import prepare
from ray_mentor.errors import UserError

SEEDS = range(12)


def all_splits(splits):
    named = {"train": splits.train, "validation": splits.validation, "meta": splits.meta, "test": splits.test}
    return {name: samples for name, samples in named.items() if samples is not None}


def assert_disjoint(splits, by_id=True):
    for (_, a), (_, b) in combinations(all_splits(splits).items(), 2):
        assert not np.isin(a.inputs.content_hashes(), b.inputs.content_hashes()).any()
        assert not (by_id and np.isin(a.ids, b.ids).any())


def rows(n, values, classes=3, **more):
    """A feature table whose content is given by `values`."""
    return {"x": [value + 0.5 for value in values], "label": [i % classes for i in range(n)], **more}


@pytest.fixture
def copies(tmp_path):
    """90 training rows with 60 contents, three of which are in the test file as well."""
    write(tmp_path / "train.parquet", rows(90, [i % 60 for i in range(90)]))
    write(tmp_path / "test.parquet", rows(30, range(57, 87)))
    return str(tmp_path)


@pytest.mark.parametrize("seed", SEEDS)
def test_digits_are_disjoint_balanced_and_complete(seed):
    splits = prepare(DataConfig(), seed)
    assert_disjoint(splits)
    assert sum(map(len, all_splits(splits).values())) == 1797
    assert np.bincount(splits.meta.labels).tolist() == [10] * 10
    assert len(splits.test) == 359
    assert np.ptp(np.bincount(splits.test.labels)) <= 3
    assert (splits.train.labels != splits.train.true_labels).sum() == round(0.4 * len(splits.train))
    assert (splits.validation.labels != splits.validation.true_labels).sum() == round(0.4 * len(splits.validation))
    assert splits.test.true_labels.tolist() == splits.test.labels.tolist()
    assert splits.meta.true_labels is None
    taken = splits.train.inputs.take(np.arange(len(splits.train)))
    assert taken.min() == 0.0
    assert taken.max() == 1.0


def test_the_note_on_a_held_out_test_split():
    assert prepare(DataConfig(), 0).notes == (
        "no test split in digits: 359 of 1797 samples were held out as one (test_share 0.2), each class with its share",
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_copies_never_reach_two_splits(copies, seed):
    splits = prepare(DataConfig(data=copies, meta_size=9, validation_share=0.3, noise="symmetric:0.2"), seed)
    assert_disjoint(splits, by_id=False)
    assert len(splits.meta) == 9
    assert len(splits.test) == 30
    assert "left out 3 training samples that are in the test split too (same content)" in splits.notes
    assert any("training samples that are copies of meta samples" in note for note in splits.notes)


@pytest.mark.parametrize("seed", SEEDS)
def test_copies_never_reach_two_splits_with_a_held_out_test(tmp_path, seed):
    images = [image_bytes(i % 35) for i in range(60)]
    path = write(tmp_path / "a.parquet", {"image": images, "label": [i % 4 for i in range(60)]})
    assert_disjoint(prepare(DataConfig(data=str(path), meta_size=8, validation_share=0.2), seed))


def test_the_same_seed_gives_the_same_splits_and_another_other_ones(copies):
    config = DataConfig(data=copies, meta_size=6, noise="instance:0.4", train_size=20, test_size=10)
    a, b, c = prepare(config, 1), prepare(config, 1), prepare(config, 2)
    for name, samples in all_splits(a).items():
        assert (samples.ids == all_splits(b)[name].ids).all()
        assert (samples.labels == all_splits(b)[name].labels).all()
        assert (samples.inputs.content_hashes() == all_splits(b)[name].inputs.content_hashes()).all()
    assert set(a.meta.ids) != set(c.meta.ids)
    assert [len(a.train), len(a.test)] == [20, 10]


def test_inputs_are_scaled_by_the_training_split(copies):
    splits = prepare(DataConfig(data=copies, meta_size=6), 0)
    taken = splits.train.inputs.take(np.arange(len(splits.train)))
    assert taken.mean().item() == pytest.approx(0, abs=1e-5)
    assert taken.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert splits.test.inputs.scale is splits.train.inputs.scale


def test_no_validation_if_none_is_wanted(copies):
    assert prepare(DataConfig(data=copies, meta_size=6, validation_share=0.0), 0).validation is None


def test_untrusted_given_labels_as_meta_set_warn(copies):
    warning = (
        "warning: the meta set was drawn from the given labels and is trusted as it is; "
        "--meta-data gives a trusted one of your own, --meta-ids names samples that you checked"
    )
    assert warning in prepare(DataConfig(data=copies, meta_size=6), 0).notes
    assert warning not in prepare(DataConfig(data=copies, meta_size=6, noise="symmetric:0.1"), 0).notes


def test_known_truth_goes_to_meta_and_test_but_not_to_train(tmp_path):
    truth = [(i + 1) % 3 for i in range(90)]
    path = write(tmp_path / "a.parquet", rows(90, range(90), truth=truth))
    splits = prepare(DataConfig(data=str(path), true_label_column="truth", meta_size=9), 0)
    assert np.bincount(splits.meta.labels).tolist() == [3, 3, 3]
    assert (splits.meta.labels == (splits.meta.ids + 1) % 3).all()
    assert (splits.test.labels == (splits.test.ids + 1) % 3).all()
    assert (splits.train.labels == splits.train.ids % 3).all()
    assert (splits.train.true_labels == (splits.train.ids + 1) % 3).all()
    assert "the meta set was drawn from the training split, with its true labels" in splits.notes
    assert "the test split is measured against its true labels" in splits.notes


def test_a_meta_set_of_its_own_is_kept_apart(tmp_path):
    write(tmp_path / "data/train.parquet", rows(60, range(60)))
    write(tmp_path / "data/test.parquet", rows(30, range(100, 130)))
    meta = write(tmp_path / "meta.parquet", {"x": [5.5, 6.5, 100.5, 500.5], "label": [2, 2, 0, 1]})
    splits = prepare(DataConfig(data=str(tmp_path / "data"), meta_data=str(meta)), 0)
    assert_disjoint(splits, by_id=False)
    assert splits.meta.labels.tolist() == [2, 2, 1]
    assert splits.notes == (
        "1 feature: x",
        "warning: left out 1 meta samples that are in the test split too (same content)",
        "left out 2 training samples that are in the meta set too (same content); 1 of them has another label there: "
        "6 (0, there 2)",
        "the test split has given labels, of which some may be wrong, so no test accuracy is shown but agreement with "
        "them, and accuracy on held-out trusted samples; if they were re-checked, say so: --clean-test",
        "6 more were held out as validation split (validation_share 0.1); no audit looks at what is held out",
        "warning: the meta set of 3 has no sample of 1 of 3 classes (0), so the mentor learns nothing of them; "
        "add them to --meta-data",
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_re_checked_is_not_drawn_into_the_test_split(tmp_path, seed):
    """Of 90 re-checked rows 17 were thrown away, when the test split was drawn first."""
    data = write(tmp_path / "data.parquet", rows(400, range(400)))
    meta = write(tmp_path / "meta.parquet", rows(90, range(0, 360, 4)))
    splits = prepare(DataConfig(data=str(data), meta_data=str(meta)), seed)
    assert_disjoint(splits, by_id=False)
    assert len(splits.meta) == 90
    assert len(splits.test) == round(0.2 * 310)
    assert not [note for note in splits.notes if "meta samples that are in the test split" in note]


UNKNOWN = "the test split has given labels, of which some may be wrong, so no test accuracy is shown"


def test_a_test_split_is_true_where_the_truth_is_known(copies, tmp_path):
    """By noise that was added, or because the user says so; not because it is called a test split."""
    drawn = write(tmp_path / "more/a.parquet", rows(90, range(90)))
    for data, known in (({"data": copies}, False), ({"data": copies, "noise": "symmetric:0.2"}, True),
                        ({"data": copies, "clean_test": True}, True), ({"data": str(drawn)}, False)):  # fmt: skip
        splits = prepare(DataConfig(**data, meta_size=6), 0)
        assert (splits.test.true_labels is not None) == known, data
        assert any(note.startswith(UNKNOWN) for note in splits.notes) != known
        assert not known or (splits.test.true_labels == splits.test.labels).all()
    with pytest.raises(UserError) as raised:
        prepare(DataConfig(data=str(drawn), clean_test=True, meta_size=6), 0)
    assert str(raised.value) == (
        f"clean_test is set, but there is no test split in {drawn}: the one that is drawn is as clean as the training "
        "samples; give a stored one, or trusted samples (--meta-data, --meta-ids), and leave --clean-test out"
    )


def test_a_grey_meta_set_fits_coloured_images(tmp_path):
    images = [image_bytes(i) for i in range(20)]
    data = write(tmp_path / "a.parquet", {"image": images, "label": [0, 1] * 10})
    grey = [image_bytes(i, mode="L") for i in range(4)]
    meta = write(tmp_path / "meta.parquet", {"image": grey, "label": [0, 1] * 2})
    assert prepare(DataConfig(data=str(data), meta_data=str(meta)), 0).meta.inputs.shape == (3, 4, 4)


@pytest.mark.parametrize("backend", ["memory", "arrow", "ray"])
def test_grey_images_are_in_colour_where_a_meta_image_is(tmp_path, backend):
    grey = [image_bytes(i, mode="L") for i in range(20)]
    data = write(tmp_path / "a.parquet", {"image": grey, "label": [0, 1] * 10})
    meta = write(tmp_path / "meta.parquet", {"image": [*grey[:3], image_bytes(30)], "label": [0, 1] * 2})
    config = DataConfig(data=str(data), data_backend=backend, data_cache=str(tmp_path / "cache"))
    splits = prepare(dataclasses.replace(config, meta_data=str(meta)), 0)
    parts = (splits.train, splits.validation, splits.meta, splits.test)
    assert [part.inputs.shape for part in parts] == [(3, 4, 4)] * 4
    values = splits.train.inputs.values[np.arange(2)]
    assert values.shape == (2, 4, 4, 3)
    assert (values == values[..., :1]).all()
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 17  # the copies of meta images are gone
    assert f"{meta} has images in colour, so the grey ones of {data} get three channels" in splits.notes
    other = write(tmp_path / "other.parquet", {"image": [image_bytes(i, size=(5, 5)) for i in (0, 1)], "label": [0, 1]})
    with pytest.raises(
        UserError, match=r"the training split's have \(3, 4, 4\); bring them to one size \(--image-size"
    ):
        prepare(dataclasses.replace(config, meta_data=str(other)), 0)


def test_a_stored_validation_split_is_used(tmp_path):
    write(tmp_path / "train.parquet", rows(60, range(60)))
    write(tmp_path / "validation.parquet", rows(30, range(50, 80)))
    write(tmp_path / "test.parquet", rows(30, range(70, 100)))
    splits = prepare(DataConfig(data=str(tmp_path), meta_size=6), 0)
    assert_disjoint(splits, by_id=False)
    assert [len(splits.validation), len(splits.train)] == [20, 44]
    assert "the stored validation split is used, whatever validation_share says" in splits.notes
    splits = prepare(DataConfig(data=str(tmp_path), meta_size=6, validation_share=0.0), 0)
    assert splits.validation is None
    assert "the stored validation split is not used, because validation_share is 0" in splits.notes


def test_a_meta_set_without_a_class_warns():
    notes = prepare(DataConfig(meta_size=8), 0).notes
    found = re.fullmatch(
        r"warning: the meta set of 8 has no sample of 2 of 10 classes \(\d, \d\), "
        r"so the mentor learns nothing of them; raise --meta-size",
        notes[-1],
    )
    assert found


def test_a_class_that_training_lacks_too_is_none_that_the_meta_set_should_have(tmp_path):
    for split, names in (("train", "ab"), ("test", "abc")):
        n = 40 * len(names)
        labels = [names[row % len(names)] for row in range(n)]
        write(tmp_path / f"{split}.parquet", {"x": [len(split) * (row + 0.5) for row in range(n)], "label": labels})
    notes = prepare(DataConfig(data=str(tmp_path), meta_size=6), 0).notes
    assert any("the training split has no sample of 1 classes of the test split (c)" in note for note in notes)
    assert not any("the meta set of" in note for note in notes)


def test_rare_classes_give_what_they_have_and_the_others_the_rest(tmp_path):
    path = write(
        tmp_path / "a.parquet", {"x": [row + 0.5 for row in range(100)], "label": [0] * 49 + [1] * 49 + [2] * 2}
    )
    meta = prepare(DataConfig(data=str(path), meta_size=20, test_share=0.1), 0).meta
    assert np.bincount(meta.labels).tolist() == [9, 9, 2]


def test_asymmetric_noise_says_that_it_knows_no_map(copies):
    notes = prepare(DataConfig(data=copies, meta_size=6, noise="asymmetric:0.2"), 0).notes
    assert "asymmetric noise: no known map for these class names, so class c becomes c + 1" in notes


def test_too_large_a_meta_set():
    text = "meta_size is 1500, but the training split has 1438 different samples, and some must be left to train on"
    with pytest.raises(UserError, match=text):
        prepare(DataConfig(meta_size=1500), 0)


def test_meta_data_errors(tmp_path, copies):
    with pytest.raises(UserError, match="meta_data is 'nowhere', but there is no such file or folder"):
        prepare(DataConfig(data=copies, meta_data="nowhere"), 0)
    same = "--meta-data needs the columns of --data, by the same names"
    unnamed = write(tmp_path / "unnamed.parquet", {"x": [5.0], "species": [2]})
    with pytest.raises(UserError, match=re.escape(f"no column 'label'; its columns are x, species; {same}")):
        prepare(DataConfig(data=copies, meta_data=str(unnamed)), 0)
    meta = write(tmp_path / "meta.parquet", {"y": [5.0], "label": [2]})
    with pytest.raises(UserError, match=re.escape(f"{meta} has no column 'x'; its columns are y, label; {same}")):
        prepare(DataConfig(data=copies, meta_data=str(meta)), 0)
    with pytest.raises(UserError, match="but digits is not stored as 8-bit images or features to compare with"):
        prepare(DataConfig(meta_data=str(meta)), 0)
    with pytest.raises(UserError, match=r"the meta set of .* has no sample left that is in no other split"):
        prepare(DataConfig(data=copies, meta_data=copies + "/test.parquet"), 0)


def test_a_training_split_that_is_all_in_the_test_split(tmp_path):
    write(tmp_path / "train.parquet", rows(30, range(30)))
    write(tmp_path / "test.parquet", rows(30, range(30)))
    with pytest.raises(UserError, match="meta_size is 5, but the training split has 0 different samples"):
        prepare(DataConfig(data=str(tmp_path), meta_size=5), 0)


def test_one_sample_cannot_be_split(tmp_path):
    path = write(tmp_path / "a.parquet", rows(3, [1, 1, 1]))
    with pytest.raises(
        UserError, match=re.escape("a share of 0.2 can't be held out of 1 different samples; give more")
    ):
        prepare(DataConfig(data=str(path)), 0)
