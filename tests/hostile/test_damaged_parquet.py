"""Parquet files of which any bytes are wrong: they give samples or a UserError, and soon."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile_data import LABELS, NUMBERS, ROWS, answer, parquet, picture, splits_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NAMES = {"huggingface": '{"info": {"features": {"label": {"names": ["a", "b", "c"]}}}}'}
WORDS = [("yes", "no", "nö")[label] for label in LABELS]

FILES = {
    "numbers": parquet({"x": NUMBERS, "y": [row % 7 for row in range(ROWS)], "label": LABELS}),
    "plain": parquet({"x": NUMBERS, "label": LABELS}, use_dictionary=False, compression="none", store_schema=False),
    "words": parquet({"x": NUMBERS, "label": WORDS, "true": WORDS, "sample_id": range(ROWS)}, compression="zstd"),
    "pages": parquet({"x": NUMBERS, "label": LABELS}, compression="gzip", data_page_version="2.0", row_group_size=5),
    "nested": parquet({"image": [{"bytes": picture(row), "path": "p"} for row in range(ROWS)], "label": LABELS}, NAMES),
    **{
        form: parquet({"image": [picture(row, form, 8) for row in range(ROWS)], "label": LABELS}, compression="none")
        for form in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
    },
}

edits = st.lists(
    st.tuples(st.booleans(), st.floats(0, 1, exclude_max=True), st.sampled_from(["set", "cut", "drop", "add"]),
              st.integers(0, 255)),
    min_size=1, max_size=5,
)  # fmt: skip


@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(edits=edits)
@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged images
def test_bytes_that_are_wrong(tmp_path: Path, name: str, edits: list[tuple[bool, float, str, int]]) -> None:
    content = bytearray(FILES[name])
    for in_footer, place, kind, byte in edits:
        damage(content, in_footer, place, kind, byte)
    path = tmp_path / "data.parquet"
    path.write_bytes(content)
    said = answer(lambda: splits_of(path, true_label_column="true" if name == "words" else None))
    assert said is None or "data.parquet" in said or "label" in said or "sample" in said


def damage(content: bytearray, in_footer: bool, place: float, kind: str, byte: int) -> None:
    """The footer says what the rest means, and is a few hundred bytes: half of the damage goes there."""
    footer = min(int.from_bytes(content[-8:-4], "little") + 8, len(content)) if in_footer else len(content)
    at = len(content) - footer + int(place * footer)
    if kind == "set" and at < len(content):
        content[at] = byte
    elif kind == "cut":
        del content[at:]
    elif kind == "drop":
        del content[at : at + 1 + byte % 16]
    elif kind == "add":
        content[at:at] = bytes([byte]) * (1 + byte % 8)


@pytest.mark.parametrize("name", FILES)
def test_the_files_themselves_are_good(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(FILES[name])
    assert answer(lambda: splits_of(path, true_label_column="true" if name == "words" else None)) is None
