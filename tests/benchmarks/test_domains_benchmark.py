"""The benchmark of mixtures: what is in its pools, what it searches through, and its table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from costs.sources import Loop, medians
from costs.step_overhead import Counting
from mixing import pools, running
from mixing.pools import GOOD, JUNK, Pool, pool_of
from mixing.running import UPDATES, RunCell
from mixing.search import candidates
from mixing.table import BEST, METHODS, best_of, markdown

from ray_mentor import MixtureConfig
from ray_mentor.config.groups.mixture import fixed_shares


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of each name, each of its own two letters, and no window like another."""
    folder = tmp_path_factory.mktemp("texts")
    names = [*GOOD, "scripture_en", "scripture_de", "scripture_fr", "scripture_sv", "junk_wordlist"]
    draw = np.random.default_rng(0)
    for place, name in enumerate(names):
        (folder / f"{name}.txt").write_bytes(
            (97 + 2 * place + draw.integers(2, size=400_000)).astype(np.uint8).tobytes()
        )
    return folder


def pieces(pool: Pool, part: str) -> set[bytes]:
    """The windows of a part, as bytes."""
    return {row.numpy().tobytes() for inputs, _ in getattr(pool, part).values() for row in inputs}


@pytest.mark.parametrize("setting", ["A", "B", "C"])
def test_nothing_of_target_or_test_is_in_the_pool(texts: Path, setting: str) -> None:
    for final in (False, True):
        pool = pool_of(setting, 1, final=final, texts=texts)
        trusted, tests, sources = (pieces(pool, part) for part in ("targets", "tests", "sources"))
        assert not trusted & tests
        assert not sources & trusted
        assert not sources & tests
        assert set(JUNK) <= pool.sources.keys()
        assert ("drama" in pool.sources) == (setting != "A")
        windows = sum(len(labels) for _, labels in pool.tests.values())
        assert windows * 64 == pytest.approx(100_000, rel=0.05)


def test_what_is_chosen_and_what_is_reported_have_no_text_in_common(texts: Path) -> None:
    chosen, reported = (pool_of("A", seed, final=final, texts=texts) for seed, final in ((0, False), (100, True)))
    assert not pieces(chosen, "tests") & pieces(reported, "tests")
    assert not pieces(chosen, "targets") & pieces(reported, "tests")


def test_corrupted_copies_have_that_many_other_bytes(texts: Path) -> None:
    sources = pool_of("B", 0, final=False, texts=texts).sources
    for name, share in (("corrupted_10", 0.1), ("corrupted_30", 0.3)):
        letters = np.isin(sources[name][0].numpy(), np.arange(97, 97 + 8))
        assert (~letters).mean() == pytest.approx(share * (1 - 8 / 256), abs=0.01)


@pytest.mark.parametrize("setting", ["A", "B", "C"])
def test_a_search_tries_twelve_to_twenty_mixtures(texts: Path, setting: str) -> None:
    names = list(pool_of(setting, 0, final=False, texts=texts).sources)
    tried = candidates(setting, names)
    assert 12 <= len(set(tried)) == len(tried) <= 20
    for each in tried:
        assert set(fixed_shares(each)) == set(names)
        assert all(fixed_shares(each)[junk] == 0 for junk in JUNK)


def row(
    method: str, seed: int, bits: float, cpu: float = 10.0, setting: str = "A", junk: float = 0.1
) -> dict[str, str]:
    return {"setting": setting, "method": method, "changes": "", "seed": str(seed), "bits": str(bits),
            "cpu_seconds": str(cpu), "plain_seconds": "10.0", "junk_share": str(junk)}  # fmt: skip


def test_the_table_says_which_part_of_the_gap_is_closed() -> None:
    rows = [row("fixed:a=1", 0, 3.4), row("fixed:b=1", 0, 3.2), row("fixed:b=1", 0, 1.0, setting="B")]
    rows += [row("uniform", 100, 4.0), row("learned", 100, 3.1, cpu=11.0, junk=0.02), row("fixed:b=1", 100, 3.0)]
    assert best_of(rows, "A") == "fixed:b=1"
    assert best_of(rows, "C") is None
    lines = markdown(rows, "A", range(100, 103)).splitlines()[2:]
    assert lines == [
        "| uniform | 4.000 | 0 % | 0.10 | 1.00× |",
        "| learned | 3.100 | 90 % | 0.02 | 1.10× |",
        "| best static | 3.000 | 100 % | 0.10 | 1.00× |",
    ]


@pytest.mark.long
@pytest.mark.parametrize("method", ["learned", "doremi"])
def test_a_short_run_of_a_cell(texts: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(running, "STEPS", 6)
    monkeypatch.setattr(pools, "TEXTS", texts)
    monkeypatch.setitem(UPDATES, "shares_interval", 2)
    monkeypatch.setattr(
        running, "pool_of", lambda setting, seed, final: pool_of(setting, seed, final=final, texts=texts)
    )
    found = RunCell(final=False)({"setting": "A", "method": method, "changes": "", "seed": 0})
    assert 0 < found["bits"] < 9
    assert 0 < found["junk_share"] < 0.4
    assert found["mean_shares"].startswith("speeches=0.")


def test_every_methods_settings_are_some() -> None:
    for name, changes in METHODS.items():
        if name != BEST:
            MixtureConfig(mixture=name, **{**UPDATES, **running._changes(changes)})


def test_64_sources_take_as_many_products_as_4_do() -> None:
    """With as many probes in all: one backward pass and one forward-mode pass an update, however many sources."""

    def products(sources: int) -> dict[str, int]:
        loop = Loop(sources, probes=128, batch=16, windows=1)
        with Counting() as found:
            loop.window()
        assert len(loop.mixture.updates) == 1
        return {name: count for name, count in found.by_name.items() if name in ("mm", "addmm", "bmm")}

    of_4 = products(4)
    assert sum(of_4.values()) > 0
    assert products(64) == of_4


def test_windows_are_measured_in_turn() -> None:
    found = medians([2, 4], probes=8, batch=4, windows=1)
    assert list(found) == [2, 4]
    assert all(0 < update < window for window, update in found.values())
