"""Groups that are no classes: where they are read from, what becomes of them in splits, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

from ray_mentor.config import DataConfig
from ray_mentor.data import Splits, prepare
from ray_mentor.data.python.given import given
from ray_mentor.data.samples.identity import identity
from ray_mentor.data.samples.samples import Samples
from ray_mentor.data.splits.meta_parts import meta_parts
from ray_mentor.errors import UserError
from ray_mentor.on_ray.train.given.samples import splits_of

N = 60
HOSPITAL = np.where(np.arange(N) % 4 == 3, "rural", "city")


def frame(n: int = N, first: int = 0, **columns: Any) -> pd.DataFrame:
    values = np.random.default_rng(first).standard_normal((n, 2))
    label = np.where(np.arange(n) % 2, "ill", "well")
    return pd.DataFrame({"x": values[:, 0], "y": values[:, 1], "label": label, "hospital": HOSPITAL[:n], **columns})


def written(folder: Path, kind: str, table: pd.DataFrame, name: str = "data") -> str:
    path = folder / f"{name}.{kind}"
    if kind == "parquet":
        table.to_parquet(path)
    elif kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        datasets.Dataset.from_pandas(table, preserve_index=False).save_to_disk(str(path))
    return str(path)


def config(path: str, **settings: Any) -> DataConfig:
    return DataConfig(data=path, **{"group_column": "hospital", "meta_size": 8, **settings})


def groups_of(samples: Samples | None) -> list[str]:
    assert samples is not None
    assert samples.groups is not None
    return [samples.groups.names[place] for place in samples.groups.of]


def by_id(splits: Splits) -> dict[int, str]:
    parts = (splits.train, splits.validation, splits.meta, splits.test)
    return {
        number: group
        for part in parts
        if part is not None
        for number, group in zip(part.ids.tolist(), groups_of(part), strict=True)
    }


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "hf"])
def test_each_sample_keeps_its_group_in_whatever_split_it_ends(kind: str, tmp_path: Path) -> None:
    splits = prepare(config(written(tmp_path, kind, frame())), 0)
    assert by_id(splits) == dict(enumerate(HOSPITAL.tolist()))
    assert splits.features == ("x", "y")


@pytest.mark.parametrize(("stored", "names"), [([10, 9], ("9", "10")), (["b", "a"], ("a", "b"))])
def test_their_names_are_in_order(stored: list[Any], names: tuple[str, ...], tmp_path: Path) -> None:
    table = frame(hospital=np.array(stored)[np.arange(N) % 2])
    splits = prepare(config(written(tmp_path, "parquet", table)), 0)
    assert splits.train.groups is not None
    assert splits.train.groups.names == names
    assert by_id(splits) == {row: str(stored[row % 2]) for row in range(N)}


def test_leading_zeros_are_kept(tmp_path: Path) -> None:
    table = frame(hospital=np.array(["007", "7"])[np.arange(N) % 2])
    assert set(by_id(prepare(config(written(tmp_path, "csv", table)), 0)).values()) == {"007", "7"}


def test_a_trusted_set_of_its_own_may_have_them_or_not(tmp_path: Path) -> None:
    """Its names and those of the data are in one order."""
    data = written(tmp_path, "csv", frame())
    own = frame(20, 100, hospital=np.where(np.arange(20) % 2, "village", "rural"))
    splits = prepare(config(data, meta_size=100, meta_data=written(tmp_path, "csv", own, "own")), 0)
    assert splits.train.groups is not None
    assert splits.train.groups.names == ("city", "rural", "village")
    assert groups_of(splits.meta) == own["hospital"].tolist()
    without = written(tmp_path, "csv", own.drop(columns="hospital"), "without")
    splits = prepare(config(data, meta_size=100, meta_data=without), 0)
    assert splits.meta.groups is None
    assert len(set(groups_of(splits.train))) == 2


def test_as_many_of_each_may_be_drawn(tmp_path: Path) -> None:
    """Of 60 samples 15 are rural."""
    data = written(tmp_path, "csv", frame())
    counts = {
        balance: groups_of(prepare(config(data, meta_balance=balance, meta_size=12), 0).meta).count("rural")
        for balance in ("classes", "groups")
    }
    assert counts["groups"] in (5, 6)
    assert counts["classes"] < 6


def test_half_of_each_is_left_to_train_on(tmp_path: Path) -> None:
    data = written(tmp_path, "csv", frame())
    splits = prepare(config(data, meta_balance="groups", meta_size=20, validation_share=0.0), 0)
    trusted, trained = (groups_of(part).count("rural") for part in (splits.meta, splits.train))
    assert trusted == (trusted + trained) // 2
    with pytest.raises(
        UserError, match="meta_size is 40, but the training split has 48 different samples, and of each"
    ):
        prepare(config(data, meta_balance="groups", meta_size=40, validation_share=0.0), 0)


def test_what_is_held_out_leaves_each_class_of_each_group_some(tmp_path: Path) -> None:
    data = written(tmp_path, "csv", frame(label=np.array(["ill", "ill", "well", "well"])[np.arange(N) // 2 % 4]))
    meta = prepare(config(data, meta_balance="groups", meta_size=12), 0).meta
    parts = meta_parts(meta, holdout=0.9, training=0.5, seed=0)
    assert meta.groups is not None
    assert parts.trained is not None
    pairs = {(group, label) for group, label in zip(groups_of(meta), meta.labels.tolist(), strict=True)}
    for part in (parts.learnt, parts.trained):
        assert {(group, label) for group, label in zip(groups_of(part), part.labels.tolist(), strict=True)} == pairs


@pytest.mark.parametrize("kind", ["pandas", "hugging_face"])
def test_a_table_in_memory_has_them_too(kind: str) -> None:
    def made(table: pd.DataFrame) -> Any:
        return table if kind == "pandas" else datasets.Dataset.from_pandas(table, preserve_index=False)

    asked = DataConfig(group_column="hospital")
    splits = splits_of(made(frame()), made(frame(8, 1)), made(frame(8, 2, hospital="village")), None, config=asked)
    assert groups_of(splits.train) == HOSPITAL.tolist()
    assert groups_of(splits.test) == ["village"] * 8
    assert splits.features == ("x", "y")
    without = splits_of(made(frame()), made(frame(8, 1).drop(columns="hospital")), None, None, config=asked)
    assert without.meta.groups is None


def test_they_are_part_of_what_a_run_is_on() -> None:
    one, other = (
        given(frame(hospital=names), DataConfig(group_column="hospital")).samples
        for names in (HOSPITAL, HOSPITAL[::-1])
    )
    assert identity(one) != identity(other)
    assert identity(dataclasses.replace(one, groups=None)) != identity(one)


def test_several_sources_have_theirs_together(tmp_path: Path) -> None:
    paths = [written(tmp_path, "csv", frame(N, first, hospital=f"of {first}"), f"part{first}") for first in (1, 2)]
    splits = prepare(config(f"one={paths[0]},two={paths[1]}", meta_data=None), 0)
    assert splits.train.groups is not None
    assert splits.train.domains is not None
    assert splits.train.groups.names == ("of 1", "of 2")
    assert np.array_equal(splits.train.groups.of, splits.train.domains.of)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"hospital": np.linspace(0, 1, N)}, "column 'hospital' of .* is double, but groups must be integers or strings"),
    ({"hospital": [None, *HOSPITAL[1:]]}, "column 'hospital' is null in row 0 of .*, but every sample needs one"),
]


@pytest.mark.parametrize(("columns", "says"), REFUSED)
def test_a_column_of_something_else_is_refused(columns: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        prepare(config(written(tmp_path, "parquet", frame(**columns))), 0)


def test_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "parquet", frame())
    with pytest.raises(UserError, match=r"has no column 'hospitals' \(nearest: 'hospital'\)"):
        prepare(config(path, group_column="hospitals"), 0)
    with pytest.raises(UserError, match="group_column is 'hospital', but digits holds images"):
        prepare(DataConfig(group_column="hospital"), 0)
    arrays = np.zeros((4, 2), np.float32), np.arange(4) % 2
    with pytest.raises(UserError, match="group_column is 'hospital', but the data have no columns; give a table"):
        splits_of(arrays, None, None, None, config=DataConfig(group_column="hospital"))
    with pytest.raises(UserError, match="meta_balance is 'groups', but nobody says which there are"):
        prepare(config(path, group_column=None, ignore_columns=("hospital",), meta_balance="groups"), 0)
