"""Small files that would be large if they were believed: refused before the memory is asked for."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_data import LABELS, ROWS, answer, parquet, picture, png_of, splits_of

from ray_mentor.core.mentor.networks import load_published
from ray_mentor.data import memory
from ray_mentor.data.samples.samples import samples_from_dataset
from ray_mentor.errors import UserError


@pytest.mark.parametrize(
    ("width", "height"), [(2**31 - 1, 2**31 - 1), (2**32 - 1, 2**32 - 1), (10**5, 10**5), (10**4, 10**4), (10**9, 1)]
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_of_enormous_dimensions(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(parquet({"image": [png_of(width, height)] * ROWS, "label": LABELS}))
    said = answer(lambda: splits_of(path), seconds=5)
    assert said is not None
    assert said.startswith(f"the image in row 0 of {path} ")
    assert "pixels" in said or "can't be decoded" in said


def test_an_image_of_enormous_dimensions_among_small_ones(tmp_path: Path) -> None:
    images = [picture(row) for row in range(ROWS - 1)] + [png_of(10**5, 10**5)]
    path = tmp_path / "data.parquet"
    path.write_bytes(parquet({"image": images, "label": LABELS}))
    said = answer(lambda: splits_of(path), seconds=5)
    assert said is not None
    assert f"the image in row {ROWS - 1} of " in said


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"image": [png_of(2000, 2000)] * ROWS, "label": LABELS}, f"{ROWS} images of 2000×2000 need 0.3 GiB"),
        (
            {**{f"x{i}": np.arange(10**5) % (91 + 3 * i) for i in range(9)}, "label": np.arange(10**5) % 3},
            "100,000 rows of 9 features",
        ),
        ({"x": np.zeros(10**6), "label": np.zeros(10**6, np.int8)}, "the labels and ids of the 1,000,000 rows"),
    ],
)
def test_more_than_the_memory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: dict[str, object], what: str
) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(parquet(columns))
    monkeypatch.setattr(memory, "available_memory", lambda: 3 * 2**20)
    said = answer(lambda: splits_of(path))
    assert said is not None
    assert what in said
    assert "of memory, but there are 0.0 GiB; " in said


def test_the_memory_there_is() -> None:
    """At least what this process has already, and less than nobody has."""
    found = memory.available_memory()
    assert found is None or 2**27 < found < 2**50


def test_a_label_of_a_megabyte_stored_once_for_thousands_of_rows(tmp_path: Path) -> None:
    """Fifty gigabytes, if each row held its own."""
    path = tmp_path / "data.parquet"
    rows, groups = 10_000, 5
    label = pa.DictionaryArray.from_arrays(np.arange(rows, dtype=np.int8) % 2, ["a" * 2**20, "b"])
    part = pa.table({"x": np.arange(rows, dtype=np.float32) // 7, "label": label})
    with pq.ParquetWriter(path, part.schema) as writer:
        for _ in range(groups):
            writer.write_table(part)
    assert path.stat().st_size < 20e6
    splits = splits_of(path, test_size=10)
    assert [len(name) for name in splits.train.classes] == [2**20, 1]


def test_a_data_set_that_claims_a_length() -> None:
    class Claims:
        def __len__(self) -> int:
            return 2**62

        def __getitem__(self, index: int) -> tuple[float, int]:
            return 0.0, 0

    said = answer(lambda: samples_from_dataset(Claims(), labels=[0]))
    assert said is not None
    assert "ids of 4,611,686,018,427,387,904 samples need" in said


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_published_params_that_unpack_to_a_gigabyte(tmp_path: Path, compression: int) -> None:
    path = tmp_path / "params.npz"
    size = 2**20 if compression == zipfile.ZIP_STORED else 2**26
    with zipfile.ZipFile(path, "w", compression) as archive:
        for part in range(2**24 // size + 1):
            archive.writestr(f"{part}.npy", bytes(size))
    with pytest.raises(UserError, match=r"it unpacks to [\d,]+ bytes, but published params have fewer than 16,777,216"):
        load_published(path)
