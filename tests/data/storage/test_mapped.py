"""The Arrow file that inputs are mapped from: made once, whole or not at all, and never trusted blindly."""

import contextlib
import io
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_data import image_bytes, write

from ray_mentor.config import DataConfig
from ray_mentor.data.readers import read
from ray_mentor.data.readers.tables import decoded as parquet_decoded
from ray_mentor.data.readers.tables import images as parquet_images
from ray_mentor.data.storage import arrow_file, cache
from ray_mentor.errors import UserError

N = 300


@pytest.fixture
def source(tmp_path):
    return write(
        tmp_path / "a.parquet", {"image": [image_bytes(i) for i in range(N)], "label": [i % 3 for i in range(N)]}
    )


def mapped(source, **more):
    settings = {"data_backend": "arrow", "data_cache": str(source.parent / "cache"), **more}
    return read(DataConfig(data=str(source), **settings)).train.inputs


def held(source):
    return read(DataConfig(data=str(source))).train.inputs


def cached(source):
    """The one Arrow file."""
    (path,) = (source.parent / "cache").iterdir()
    assert path.suffix == ".arrow"
    return path


def same(inputs, source):
    return (inputs.values[:] == held(source).values).all()


@pytest.fixture(autouse=True)
def several_batches(monkeypatch):
    monkeypatch.setattr(arrow_file, "_BATCH_BYTES", 2**14)


@pytest.fixture
def decodings(monkeypatch):
    """A list that grows with each decoding."""
    calls = []
    for name in ("image_parts", "feature_parts"):
        inner = getattr(parquet_decoded, name)

        def counted(*arguments, inner=inner):
            calls.append(arguments)
            return inner(*arguments)

        monkeypatch.setattr(parquet_decoded, name, counted)
    return calls


# Made once


def test_the_second_time_nothing_is_decoded(source, decodings, caplog):
    first, second = mapped(source), mapped(source)
    assert len(decodings) == 1
    assert same(first, source)
    assert same(second, source)
    assert [re.sub(r"\S+/", "", record.getMessage()) for record in caplog.records] == [
        f"decoding 300 rows of a.parquet into {cached(source).name}, this once"
    ]


def test_any_arrow_reader_reads_it(source):
    mapped(source)
    file = pa.ipc.open_file(cached(source))
    assert file.num_record_batches == 2
    table = file.read_all()
    images = table["values"].combine_chunks().to_numpy_ndarray()
    assert (images == held(source).values).all()
    assert b"".join(table["content"].to_pylist()) == held(source).content_hashes().tobytes()


def test_a_changed_source_is_decoded_anew(tmp_path, decodings):
    source = write(tmp_path / "a.parquet", {"x": [1.0, 2.0], "label": [0, 1]})
    mapped(source)
    before = source.stat()
    write(source, {"x": [1.0, 3.0], "label": [0, 1]})
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))  # as an archive with fixed times unpacks it
    assert source.stat().st_size == before.st_size
    assert mapped(source).values[:].tolist() == [[1.0], [3.0]]
    os.utime(source)
    assert mapped(source).values[:].tolist() == [[1.0], [3.0]]
    assert len(decodings) == 3


def test_other_columns_are_other_data(tmp_path, decodings):
    source = write(tmp_path / "a.parquet", {"x": [1.0, 2.0], "y": [3.0, 4.0], "label": [0, 1]})
    assert mapped(source).values[:].tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert mapped(source, feature_columns=("y",)).values[:].tolist() == [[3.0], [4.0]]
    assert len(decodings) == 2


def found_by_threads(source, count):
    found = []
    threads = [threading.Thread(target=lambda: found.append(mapped(source))) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_who_comes_at_the_same_time_waits(source, decodings):
    found = found_by_threads(source, 6)
    assert len(found) == 6
    assert all(same(inputs, source) for inputs in found)
    assert len(decodings) == 1
    cached(source)


@pytest.mark.long
def test_a_process_that_is_killed_leaves_nothing_that_looks_finished(source, decodings):
    stuck = (
        "import sys, time\n"
        "from ray_mentor.config import DataConfig\n"
        "from ray_mentor.data.readers import read\n"
        "from ray_mentor.data.readers.tables import decoded\n"
        "inner = decoded.image_parts\n"
        "def slow(*arguments):\n"
        "    for part in inner(*arguments):\n"
        "        yield part\n"
        "        print('begun', flush=True)\n"
        "        time.sleep(100)\n"
        "decoded.image_parts = slow\n"
        "read(DataConfig(data=sys.argv[1], data_backend='arrow', data_cache=sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", stuck, str(source), str(source.parent / "cache")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    names = sorted(path.suffix for path in (source.parent / "cache").iterdir())
    assert names == [".lock", ".part"]
    assert same(mapped(source), source)
    (left,) = (source.parent / "cache").glob("*.part")
    os.utime(left, ns=(0, 0))  # long ago
    mapped(write(source.parent / "b.parquet", {"x": [1.0], "label": [0]}))
    assert sorted(path.name[:2] for path in (source.parent / "cache").iterdir()) == ["a-", "b-"]


def test_without_locks_each_writes_a_whole_file(source, monkeypatch, decodings):
    def refuse(*arguments):
        raise OSError("no locks here")

    monkeypatch.setattr(cache.fcntl, "flock", refuse)
    waiting = threading.Barrier(3)
    inner = parquet_decoded.image_parts

    def together(*arguments):
        yield from inner(*arguments)
        waiting.wait(60)

    monkeypatch.setattr(parquet_decoded, "image_parts", together)
    found = found_by_threads(source, 3)
    assert len(found) == 3
    assert all(same(inputs, source) for inputs in found)
    cached(source)


# Whole or not at all


@contextlib.contextmanager
def no_file_beyond(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 1000, 15_000])
def test_a_disk_that_fills_up_is_explained_and_nothing_is_left(source, size):
    text = re.escape(f"data_cache '{source.parent}/cache' can't be used (File too large); free what is full, or name")
    with no_file_beyond(size), pytest.raises(UserError, match=text):
        mapped(source)
    assert list((source.parent / "cache").iterdir()) == []
    assert same(mapped(source), source)


def test_a_full_disk_is_refused_before_anything_is_decoded(source, monkeypatch, decodings):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(UserError, match=r"has 0.0 GiB free, but 300 rows of .*a.parquet take 0.0 GiB; free some, or"):
        mapped(source)
    assert decodings == []
    assert list((source.parent / "cache").iterdir()) == []


def test_a_folder_that_cannot_be_one_is_explained(source):
    (source.parent / "cache").write_text("a file")
    with pytest.raises(
        UserError, match=r"data_cache '.*cache' can't be used \(.*\); free what is full, or name another"
    ):
        mapped(source)


def test_a_bad_image_leaves_nothing(tmp_path):
    images = [image_bytes(i) for i in range(300)]
    source = write(tmp_path / "a.parquet", {"image": [*images, b"junk"], "label": [0] * 301})
    with pytest.raises(UserError, match="the image in row 300 of"):
        mapped(source)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_source_that_changes_meanwhile_is_refused(source, monkeypatch):
    inner = parquet_decoded.image_parts

    def touching(*arguments):
        yield from inner(*arguments)
        os.utime(source)

    monkeypatch.setattr(parquet_decoded, "image_parts", touching)
    with pytest.raises(UserError, match=r"a.parquet changed while being read; start again"):
        mapped(source)
    assert list((source.parent / "cache").iterdir()) == []


# Never trusted blindly


def overwrite(path, data):
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 0.9999])
def test_a_file_that_is_cut_off_is_made_anew(source, share, decodings, caplog):
    mapped(source)
    whole = cached(source).read_bytes()
    overwrite(cached(source), whole[: int(share * len(whole))])
    assert same(mapped(source), source)
    assert len(decodings) == 2
    assert re.search(r"is damaged \(.+\); it is made anew", caplog.text)
    assert cached(source).read_bytes() == whole


def table_of(rows=N, shape=(4, 4, 3), dtype=np.uint8):
    values = pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((rows, *shape), dtype))
    content = pa.array([b"x" * 16] * rows, pa.binary(16))
    return {"values": values, "content": content}


TAMPERED = {
    "no columns of ours": lambda: {"a": pa.array([1, 2])},
    "values alone": lambda: {"values": pa.array([b"x" * 48] * N, pa.binary(48))},
    "strings": lambda: {"values": pa.array(["x"] * N)},
    "fewer rows": lambda: table_of(N - 1),
    "floats": lambda: table_of(N, dtype=np.float64),
    "two channels": lambda: table_of(N, (4, 4, 2)),
    "an image of nothing": lambda: {"values": pa.nulls(N, pa.fixed_shape_tensor(pa.uint8(), (0, 4, 3)))},
}


@pytest.mark.long
@pytest.mark.parametrize("kind", TAMPERED)
def test_another_content_under_its_name_is_made_anew(source, kind, decodings):
    mapped(source)
    identity = pa.ipc.open_file(cached(source)).schema.metadata
    table = pa.table(TAMPERED[kind]()).replace_schema_metadata(identity)
    overwrite(cached(source), b"")
    with pa.OSFile(str(cached(source)), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    assert same(mapped(source), source)
    assert len(decodings) == 2


@pytest.mark.parametrize("change", ["compressed", "another identity"])
def test_the_same_content_in_another_form_is_made_anew(source, change, decodings):
    mapped(source)
    table = pa.ipc.open_file(cached(source)).read_all()
    options = pa.ipc.IpcWriteOptions(compression="zstd" if change == "compressed" else None)
    if change == "another identity":
        table = table.replace_schema_metadata({"ray_mentor": "{}"})
    overwrite(cached(source), b"")
    with pa.OSFile(str(cached(source)), "wb") as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
        writer.write_table(table)
    assert same(mapped(source), source)
    assert len(decodings) == 2


@pytest.mark.long
@given(place=st.floats(0, 1, exclude_max=True), data=st.binary(min_size=1, max_size=8))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_changed_give_images_of_the_same_shape(source, place, data):
    mapped(source)
    whole = cached(source).read_bytes()
    start = int(place * len(whole))
    overwrite(cached(source), whole[:start] + data + whole[start + len(data) :])
    inputs = mapped(source)
    assert inputs.values[:].shape == (N, 4, 4, 3)
    assert len(inputs.content_hashes()) == N
    inputs.statistics()
    overwrite(cached(source), whole)


# On another machine


def test_what_is_pickled_is_the_rows_and_where_they_are(source):
    chosen = mapped(source).select(np.arange(0, N, 2))
    sent = pickle.dumps(chosen)
    assert len(sent) < 8 * len(chosen) + 2000
    there = pickle.loads(sent)  # noqa: S301  our own bytes
    assert (there.values[:] == held(source).values[::2]).all()


def test_where_the_file_is_not_it_is_made_of_the_source(source, decodings):
    sent = pickle.dumps(mapped(source).select(np.array([5, 3])))
    cached(source).unlink()
    there = pickle.loads(sent)  # noqa: S301  our own bytes
    there.open()
    assert len(decodings) == 2
    assert (there.values[:] == held(source).values[[5, 3]]).all()


def test_where_it_cannot_be_made_the_user_is_told(source):
    sent = pickle.dumps(mapped(source))
    shutil.rmtree(source.parent / "cache")
    os.utime(source, ns=(0, 0))
    fix = r"name a folder that all nodes share with --data-cache"
    with pytest.raises(UserError, match=rf"can't be made there \(.*a.parquet differ from those .* began with\); {fix}"):
        pickle.loads(sent).open()  # noqa: S301  our own bytes
    source.unlink()
    with pytest.raises(UserError, match=rf"can't be made there \(.*No such file or directory.*\); {fix}"):
        pickle.loads(sent).open()  # noqa: S301  our own bytes


# No copies


def test_memory_does_not_grow_with_the_data(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_images, "_PART_PIXELS", 16 * 64 * 64)
    monkeypatch.setattr(arrow_file, "_BATCH_BYTES", 2**18)
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    source = write(tmp_path / "a.parquet", {"image": [file.getvalue()] * 800, "label": [0] * 800})
    tracemalloc.start()
    try:
        inputs = mapped(source).select(np.random.default_rng(0).permutation(800))
        inputs.scaled(inputs.statistics()).take(np.arange(10))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.4 * 800 * 64 * 64 * 3


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_small_data_sets_are_read_into_memory_alone(name):
    text = (
        f"data_backend is 'arrow', but {name} is small and is held in memory; leave --data-backend out, or give a path"
    )
    with pytest.raises(UserError, match=re.escape(text)):
        read(DataConfig(data=name, data_backend="arrow"))
