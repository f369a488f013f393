"""Every setting of a comparison: which methods, on how many seeds and under which conditions, and the runs around."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ray_mentor.config import TrainConfig, parse_noise
from ray_mentor.config.around import flat, split
from ray_mentor.config.compared import PRESETS, check_known
from ray_mentor.config.values import require
from ray_mentor.errors import one_of


@dataclass(frozen=True)
class CompareSettings:
    """What a comparison compares, and on how many seeds."""

    methods: tuple[str, ...] = ()
    """Methods by name, `a,b` being two: uniform, uniform-trusted, mixup, mentormix-uniform, randaugment,
    trivialaugment, pcgrad, gradient-vaccine, label-smoothing, logit-adjusted, class-balanced, ldam, bootstrap-soft,
    bootstrap-hard, mae, gce, gce-truncated, sce, elr, forward, focal-loss, focal, hard-mining, group-dro, self-paced,
    spcl, predefined, l2rw, co-teaching, dividemix, mentornet-pd, mentornet-dd, mentornet-refined, meta-weight-net,
    cmw-net, mentornet-lstm, mentornet-unmixed, mentormix-published, mentornet-gce, mentornet-elr,
    mentornet-pseudo-clean, mentornet, oracle; NAME=FILE is one of your own, with the settings in FILE (TOML or YAML).
    uniform-trusted and oracle run in any case. Empty: those of the preset."""
    preset: Literal["quick", "seed", "all"] | None = None
    """Methods by what is asked: quick (uniform, self-paced, gce, mixup, mentornet), seed (those, sce, co-teaching,
    dividemix, mentornet-pd, mentornet-dd, randaugment on images), all. None: quick where no methods are named, else
    those alone."""
    seeds: int = 3
    """Seeds of each method, >= 1: seed, seed + 1, ... One says nothing of chance."""
    noises: tuple[str, ...] = ()
    """Compare at each of these, as `noise` has them, `a,b` being two. Empty: at that of the runs."""
    meta_sizes: tuple[int | str, ...] = ()
    """Compare with each of these numbers of trusted samples, as `meta_size` has them, `0,10` being two; with 0, a
    method that needs some is a row that says so. Empty: with that of the runs."""
    concurrent: int | None = None
    """Runs at a time, >= 1, at most as many as fit; with an autoscaler, for so many it is asked. None: as many as fit
    at the start."""

    def __post_init__(self) -> None:
        if self.preset is not None:
            one_of(self.preset, PRESETS, "preset")
        check_known(name for name in self.names if "=" not in name)
        for name in self.names:
            called, sign, file = name.partition("=")
            require(not sign or bool(file), "methods", name, "behind = there must be a file", "e.g. mine=mine.toml")
            require(bool(called.strip()), "methods", name, "before = there must be a name", "e.g. mine=mine.toml")
        own = [name.partition("=")[0].strip() for name in self.names if "=" in name]
        require(len(set(own)) == len(own), "methods", own, "each of your own needs a name of its own")
        for size in self.sizes:
            require(size >= 0, "meta_sizes", size, "it must be at least 0")
        noises = {noise_text(*parse_noise(noise)) for noise in self.noise_levels}
        require(len(noises) == len(self.noise_levels), "noises", self.noise_levels, "each must be there once")
        require(len(set(self.sizes)) == len(self.sizes), "meta_sizes", self.sizes, "each must be there once")
        require(self.seeds >= 1, "seeds", self.seeds, "it must be at least 1")
        require(self.concurrent is None or self.concurrent >= 1, "concurrent", self.concurrent, "it must be at least 1")

    @property
    def names(self) -> tuple[str, ...]:
        """The methods that are named, one by one."""
        return _one_by_one(self.methods)

    @property
    def noise_levels(self) -> tuple[str, ...]:
        """The noises, one by one."""
        return _one_by_one(self.noises)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of trusted samples, one by one."""
        texts = _one_by_one(tuple(map(str, self.meta_sizes)))
        for text in texts:
            require(bool(_WHOLE.fullmatch(text)), "meta_sizes", text, "each must be a whole number", "e.g. 0,10,100")
        return tuple(map(int, texts))

    @property
    def from_preset(self) -> tuple[str, ...]:
        """The methods of the preset that counts."""
        preset = self.preset or (None if self.methods else "quick")
        return () if preset is None else tuple(PRESETS[preset])


def noise_text(kind: str, rate: float) -> str:
    """What a level is called, by which its runs are known: ``symmetric:0.4``, or ``none`` where nothing is added."""
    return f"{kind}:{rate:g}" if rate else "none"


_WHOLE = re.compile("-?[0-9]{1,18}")


def _one_by_one(given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for text in given for name in text.split(",") if name.strip())


@dataclass(frozen=True)
class CompareConfig:
    """A whole comparison."""

    compare: CompareSettings = field(default_factory=CompareSettings)
    train: TrainConfig = field(default_factory=TrainConfig)

    def flat(self) -> dict[str, Any]:
        """Every setting under its one name; the inverse of :meth:`from_flat`."""
        return flat(self.compare, self.train)

    @classmethod
    def from_flat(cls, table: Mapping[str, Any]) -> CompareConfig:
        """Builds a comparison from one flat table; what it lacks keeps its default.

        Raises:
            UserError: an unknown name (with the nearest valid ones), or a value of the wrong type.
        """
        return cls(*split(CompareSettings, table))
