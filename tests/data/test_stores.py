"""File systems by URI: what is asked of pyarrow, and what is not asked twice."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ray_mentor.data import stores


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries of file systems that were made, and the paths that these were asked for."""
    found: list[str] = []

    def opened(scheme: str, netloc: str, query: str) -> tuple[object, str]:
        found.append(query)
        return SimpleNamespace(get_file_info=found.append), netloc.rpartition("@")[2]

    monkeypatch.setattr(stores, "_opened", opened)
    monkeypatch.setattr(stores, "_known", {})
    return found


def test_google_is_asked_with_little_patience_first(asked: list[str]) -> None:
    """Left to itself its client tries for a quarter of an hour where there is no network."""
    system, path = stores.resolved("gs://anonymous@bucket/a b/c%20d?scheme=http")
    assert path == "bucket/a b/c d"
    assert asked == ["scheme=http&retry_limit_seconds=5", path, "scheme=http&retry_limit_seconds=60"]
    assert stores.resolved("gs://anonymous@bucket/other?scheme=http") == (system, "bucket/other")
    assert len(asked) == 3
    stores.resolved("gs://bucket/a?retry_limit_seconds=7")
    assert asked[3:] == ["retry_limit_seconds=7"]


def test_what_lies_in_one_bucket_shares_a_file_system(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless credentials or address are others now."""
    one, path = stores.resolved("s3://bucket/folder/")
    assert path == "bucket/folder"
    assert stores.resolved("s3://bucket") == (one, "bucket")
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert stores.resolved("s3://bucket")[0] is not one
    assert asked == ["", ""]


def test_a_number_sign_is_a_letter_of_a_name(asked: list[str]) -> None:
    assert stores.resolved("s3://bucket/data#v2/t.parquet?scheme=http")[1] == "bucket/data#v2/t.parquet"
    assert asked == ["scheme=http"]


def test_local_files_are_found_whatever_they_are_called(tmp_path: object) -> None:
    for name in ("a b", "a#b", "ä[1]"):
        assert stores.resolved(f"file://{tmp_path}/{name}")[1] == f"{tmp_path}/{name}"
