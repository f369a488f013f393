"""Training samples that stay in Parquet: they arrive in the order of the plan, and are those in memory."""

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small_data import image_bytes

from ray_mentor.config import DataConfig
from ray_mentor.data import memory as memory_module
from ray_mentor.data import prepare, rank_slice
from ray_mentor.data.plan.batches import Plan
from ray_mentor.data.storage.spread import in_threads
from ray_mentor.data.storage.stored import in_plan_order, order_of
from ray_mentor.errors import UserError

ROWS = 70


def write_parts(path, columns, rows=ROWS, group=9):
    path.mkdir(exist_ok=True)
    table = pa.table({"label": [i % 3 for i in range(rows)], **columns})
    pq.write_table(table.slice(0, 40), path / "train-0.parquet", row_group_size=group)
    pq.write_table(table.slice(40), path / "train-1.parquet", row_group_size=group)
    pq.write_table(table.slice(0, 10).set_column(0, "label", pa.array([0] * 10)), path / "test.parquet")


def features(path):
    draw = np.random.default_rng(0)
    write_parts(path, {name: draw.standard_normal(ROWS) for name in "xyz"})


def images(path):
    pixels = [image_bytes(i, mode="L" if i < 30 else "RGB") for i in range(ROWS)]
    write_parts(path, {"image": pixels, "sample_id": [1000 - i for i in range(ROWS)]})


def splits(path, backend="ray", spread=in_threads, **more):
    settings = {
        "meta_size": 6,
        "validation_share": 0.1,
        "shuffle_rows": 20,
        "data_cache": f"{path}-cache".removeprefix("file://"),
        **more,
    }
    return prepare(DataConfig(data=str(path), data_backend=backend, **settings), 0, spread)


def plan_of(samples, batch=8, epochs=3):
    return Plan(order_of(samples), batch, 5, epochs)


@pytest.mark.parametrize("make", [features, images])
@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("first", [0, 11])
def test_what_arrives_is_what_memory_holds_from_any_step_on_any_rank(tmp_path, make, world, first):
    make(tmp_path / "data")
    held, streamed = splits(tmp_path / "data", "memory").train, splits(tmp_path / "data").train
    plan = plan_of(streamed)
    assert len(plan.order.windows(5, 0)) > 2
    seen = []
    for rank in range(world):
        with in_plan_order(streamed, plan, first, rank, world, in_threads) as train:
            for epoch, rows, _ in plan.steps(first):
                own = rank_slice(rows, rank, world)
                found, expected = train.inputs.take(own), held.inputs.take(own)
                assert torch.equal(found, expected)
                assert found.stride() == expected.stride()
                seen += [(epoch, row) for row in own.tolist()]
    done = first * 8 if first < plan.epoch_steps else None
    assert len(set(seen)) == len(seen)
    if done == 0:
        assert set(seen) == set(itertools.product(range(3), range(len(held))))


def test_rows_in_another_order_than_the_plans_are_an_error(tmp_path):
    features(tmp_path / "data")
    train = splits(tmp_path / "data").train
    plan = plan_of(train)
    with in_plan_order(train, plan, 0, 0, 1, in_threads) as arriving:
        rows = next(plan.steps())[1]
        with pytest.raises(RuntimeError, match="the stream brought rows"):
            arriving.inputs.take(rows[::-1])


def test_a_result_in_several_pieces_is_put_together(tmp_path):
    def in_pieces(work, parts, part_bytes):
        for table in in_threads(work, parts, part_bytes):
            yield from (table.slice(start, 3) for start in range(0, len(table), 3))

    images(tmp_path / "data")
    train = splits(tmp_path / "data").train
    plan = plan_of(train)
    with (
        in_plan_order(train, plan, 0, 0, 1, in_pieces) as pieces,
        in_plan_order(train, plan, 0, 0, 1, in_threads) as whole,
    ):
        for _, rows, _ in plan.steps():
            assert torch.equal(pieces.inputs.take(rows), whole.inputs.take(rows))


def test_no_more_results_than_threads_wait(tmp_path):
    done = []

    def work(rows):
        done.append(rows)
        return pa.table({"row": rows})

    results = in_threads(work, ([i] for i in itertools.count()), 0)
    for taken in range(1, 20):
        next(results)
        assert len(done) <= taken + 2
    results.close()


def test_a_file_that_changes_during_the_run_is_an_error(tmp_path):
    images(tmp_path / "data")
    train = splits(tmp_path / "data").train
    write_parts(tmp_path / "data", {"image": [image_bytes(i) for i in range(ROWS)], "sample_id": list(range(ROWS))})
    plan = plan_of(train)
    with (
        pytest.raises(UserError, match="now holds another sample; the file was changed during the run"),
        in_plan_order(train, plan, 0, 0, 1, in_threads) as arriving,
    ):
        arriving.inputs.take(next(plan.steps())[1])


def test_a_broken_image_is_found_before_training_and_named(tmp_path):
    images(tmp_path / "data")
    pixels = [b"nonsense" if i == 45 else image_bytes(i) for i in range(ROWS)]
    write_parts(tmp_path / "data", {"image": pixels, "sample_id": [1000 - i for i in range(ROWS)]})
    with pytest.raises(UserError, match=r"row 5 of .*train-1.parquet \(sample id 955\) can't be decoded"):
        splits(tmp_path / "data")


def test_noise_that_needs_all_inputs_is_refused(tmp_path):
    features(tmp_path / "data")
    with pytest.raises(UserError, match="which depends on the inputs of all samples together"):
        splits(tmp_path / "data", noise="instance:0.2")


def test_a_window_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    features(tmp_path / "data")
    train = splits(tmp_path / "data").train
    monkeypatch.setattr(memory_module, "available_memory", lambda: 1000)
    with (
        pytest.raises(UserError, match=r"windows of 20 training samples over 1 workers need .* lower --shuffle-rows"),
        in_plan_order(train, plan_of(train), 0, 0, 1, in_threads),
    ):
        pass


def test_held_out_splits_that_do_not_fit_are_refused(tmp_path, monkeypatch):
    images(tmp_path / "data")
    monkeypatch.setattr("ray_mentor.data.storage.stored.require_memory", _nothing_fits)
    with pytest.raises(UserError, match="samples of a split that is held out"):
        splits(tmp_path / "data")


def _nothing_fits(size, what, fix):
    raise UserError(f"{what} need more; {fix}")


@pytest.fixture
def counted():
    """A spread that counts the rows it was asked for."""

    def spread(work, parts, part_bytes):
        asked = list(parts)
        spread.rows += sum(map(len, asked))
        return in_threads(work, asked, part_bytes)

    spread.rows = 0
    return spread


@pytest.mark.parametrize("make", [features, images])
def test_what_is_known_of_the_samples_is_found_out_once(tmp_path, counted, make):
    make(tmp_path / "data")
    first = splits(tmp_path / "data", spread=counted)
    assert counted.rows == ROWS
    again = splits(tmp_path / "data", spread=counted)
    assert counted.rows == ROWS
    np.testing.assert_array_equal(first.train.inputs.content_hashes(), again.train.inputs.content_hashes())
    assert [s.tobytes() for s in first.train.inputs.scale] == [s.tobytes() for s in again.train.inputs.scale]


def test_files_that_changed_are_read_again(tmp_path, counted):
    features(tmp_path / "data")
    before = splits(tmp_path / "data", spread=counted).train.inputs.content_hashes()
    write_parts(tmp_path / "data", {name: np.arange(float(ROWS)) + 0.5 for name in "xyz"})
    after = splits(tmp_path / "data", spread=counted).train.inputs.content_hashes()
    assert counted.rows == 2 * ROWS
    assert not set(before.tolist()) & set(after.tolist())


def test_a_damaged_cache_is_made_anew(tmp_path, counted):
    features(tmp_path / "data")
    before = splits(tmp_path / "data", spread=counted).train.inputs.content_hashes()
    (kept,) = (tmp_path / "data-cache").glob("*.known.arrow")
    kept.chmod(0o644)
    kept.write_bytes(kept.read_bytes()[:-100])
    np.testing.assert_array_equal(splits(tmp_path / "data", spread=counted).train.inputs.content_hashes(), before)
    assert counted.rows == 2 * ROWS


def test_a_cache_that_cannot_be_written_is_refused(tmp_path):
    features(tmp_path / "data")
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=r"data_cache '.*file' can't be used \(.*\); free what is full, or name another"
    ):
        splits(tmp_path / "data", data_cache=str(tmp_path / "file"))


@pytest.mark.parametrize("backend", ["memory", "ray"])
@pytest.mark.parametrize("make", [features, images])
def test_a_uri_is_read_as_a_path_is(tmp_path, make, backend):
    make(tmp_path / "data")
    uri = f"file://{tmp_path}/data"
    by_path, by_uri = (
        prepare(DataConfig(data=at, data_backend=backend, meta_size=6, data_cache=str(tmp_path / "cache")), 0)
        for at in (str(tmp_path / "data"), uri)
    )
    assert by_path.notes == by_uri.notes
    for name in ("train", "validation", "meta", "test"):
        a, b = getattr(by_path, name), getattr(by_uri, name)
        np.testing.assert_array_equal(a.ids, b.ids)
        assert torch.equal(a.inputs.take(np.arange(len(a))), b.inputs.take(np.arange(len(a))))


def test_a_uri_of_one_file_and_of_one_in_a_hidden_folder(tmp_path):
    features(tmp_path / "data")
    one = prepare(DataConfig(data=f"file://{tmp_path}/data/train-0.parquet", meta_size=6), 0)
    assert any("no test split" in note for note in one.notes)
    features(tmp_path / "data" / "_old")
    assert len(splits(f"file://{tmp_path}/data", "memory").train) == len(splits(tmp_path / "data", "memory").train)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file:///nowhere/at/all", "no such file or folder"),
        ("nothing://bucket/data", "nothing://bucket/data can't be reached"),
    ],
)
def test_a_uri_that_leads_nowhere_is_refused(uri, message):
    with pytest.raises(UserError, match=message):
        prepare(DataConfig(data=uri), 0)


def test_arrow_keeps_a_copy_of_what_is_far(tmp_path):
    features(tmp_path / "data")
    far = splits(f"file://{tmp_path}/data", "arrow", data_cache=str(tmp_path / "cache")).train
    near = splits(tmp_path / "data", "memory").train
    rows = np.arange(len(near))
    assert (far.inputs.values[rows] == near.inputs.values[rows]).all()
