"""A run's folder as a run leaves it, made by hand: what its ledger holds is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ray_mentor.config import TrainConfig
from ray_mentor.config.file import to_toml
from ray_mentor.data import Samples
from ray_mentor.data.samples.inputs import AbstractInputs, ImageInputs
from ray_mentor.run.directory import RunDirectory
from ray_mentor.run.ledger.files import read_ledger
from ray_mentor.run.ledger.rows import SCHEMA

CLASSES = ("cat", "dog", "owl")


def made_ledger(samples: int, epochs: int, *, batch: int = 16, seed: int = 0, truth: bool = True) -> pa.Table:
    """Rows of a run in which 30 % of the labels are wrong, and a mentor that comes to see which."""
    draw = np.random.default_rng(seed)
    true = np.arange(samples) % len(CLASSES)
    wrong = draw.random(samples) < 0.3
    given = np.where(wrong, (true + 1) % len(CLASSES), true)
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for epoch in range(epochs):
        order = draw.permutation(samples)
        seen = (epoch + 1) / epochs
        loss = np.where(wrong, 1.1 + 2 * seen, 1.1 - seen) * draw.uniform(0.7, 1.3, samples)
        scored = np.clip(np.where(wrong, 1 - seen, 0.9) + 0.05 * draw.standard_normal(samples), 0, 1)
        steps = epoch * -(-samples // batch) + np.arange(samples) // batch
        values = {
            "sample_id": 100 + order, "epoch": np.full(samples, epoch), "step": steps, "loss": loss[order],
            "scored_weight": scored[order], "sample_weight": np.where(epoch, scored[order], 1.0),
            "influence": draw.standard_normal(samples), "given_label": given[order], "true_label": true[order],
            "predicted_label": np.where(epoch, true, given)[order], "margin": np.where(wrong, -seen, 3 * seen)[order],
            "class_factor": np.ones(samples), "domain": np.full(samples, -1), "group": np.full(samples, -1),
        }  # fmt: skip
        for name in columns:
            columns[name].append(values[name])
    if not epochs:
        return SCHEMA.empty_table()
    arrays = {name: np.concatenate(parts) for name, parts in columns.items()}
    table = pa.table({field.name: pa.array(arrays[field.name], field.type) for field in SCHEMA}, schema=SCHEMA)
    if truth:
        return table
    place = SCHEMA.get_field_index("true_label")
    return table.set_column(place, SCHEMA.field(place), pa.nulls(len(table), pa.int64()))


def made_metrics(epochs: int) -> list[dict[str, float | None]]:
    return [
        {
            "epoch": epoch,
            "steps": 10 * (epoch + 1),
            "meta_updates": epoch,
            "fallbacks": epoch // 2,
            "memorised": 0.1,
            **({"d_log_learning_rate": -3e-4, "d_momentum": 2e-7} if epoch else {}),
            "loss": 2 / (epoch + 1),
            "mean_sample_weight": 0.7,
            "meta_loss": None if epoch == 0 else 0.3 / epoch,
            "meta_holdout_loss": 0.5,
            "trusted_accuracy": 0.8,
            "test_accuracy": 1 - 0.5 / (epoch + 1),
            "test_agreement": None,
            "validation_agreement": 0.6,
            "learning_rate": 0.1,
            "samples_per_second": 1000.0 + epoch,
            "train_seconds": 1.0 + epoch,
        }
        for epoch in range(epochs)
    ]


def made_result(**changes: Any) -> dict[str, Any]:
    result = {
        "trusted_accuracy": 0.9,
        "trusted_interval": [0.8, 0.95],
        "trusted_held_out": 30,
        "kept_epoch": 4,
        "test_accuracy": 0.875,
        "test_agreement": None,
        "validation_agreement": 0.6,
        "noise_auroc": 0.99,
        "noise_auroc_of": "1 − sample weight",
        "sample_weight_spread": 0.4,
        "train_seconds": 6.0,
        "wall_seconds": 9.5,
        "phase_seconds": {"prepare": 2.0, "start_ray": 0.5, "start_workers": 0.5, "train": 6.0, "finish": 0.5},
        "part_seconds": {"reading": 0.4, "scoring": 0.2, "student": 3.0, "meta step": 1.5, "ledger": 0.3},
        "steps": 40,
        "meta_updates": 3,
        "guards": None,
        "samples_per_second": 1000.0,
        "method": "mentornet",
        "seed": 0,
        "workers": 0,
        "versions": {"python": "3.11.7", "torch": "2.11.0"},
        "notes": ["the mentor learned three times"],
        "test_balanced_accuracy": 0.87,
        "test_macro_f1": 0.86,
        "classes": [],
        "mean_sample_weight_elsewhere": 0.7,
        "wrong_labels": None,
        "wrong_labels_interval": None,
        "wrong_labels_by_trusted": None,
        "first_known_wrong": None,
    }
    return {**result, **changes}


def made_run(
    folder: Path,
    *,
    samples: int = 60,
    epochs: int = 6,
    ledger: pa.Table | None = None,
    result: Mapping[str, Any] | None = None,
    ended: bool = True,
    classes: Sequence[str] = CLASSES,
    settings: Mapping[str, Any] | None = None,
) -> RunDirectory:
    """The folder of a run with a file of its ledger an epoch."""
    directory = RunDirectory(str(folder))
    directory.create()
    own = {**TrainConfig().flat(), "epochs": epochs, "run_name": folder.name, "workers": 0, **(settings or {})}
    for name in ("resume", "resume_or_start"):
        own.pop(name, None)
    directory.write("config.toml", to_toml(own).encode())
    directory.write("classes.json", json.dumps(list(classes)).encode())
    directory.write_metrics(made_metrics(epochs))
    rows = made_ledger(samples, epochs) if ledger is None else ledger
    for epoch in range(epochs):
        part = rows.filter(pa.compute.equal(rows["epoch"], epoch))
        pyarrow.parquet.write_table(part, folder / "ledger" / f"epoch-{epoch:04d}.parquet")
    if ended:
        directory.write_result(made_result() if result is None else result)
    return directory


def samples_of(directory: RunDirectory, inputs: AbstractInputs | None = None) -> Samples:
    """The samples of a made run: grey pictures unless others are given, each of one shade, its place times two."""
    first = read_ledger(directory, 0).sort_by("sample_id")
    ids, labels = first["sample_id"].to_numpy(), first["given_label"].to_numpy()
    shades = np.repeat(2 * np.arange(len(ids), dtype=np.uint8), 64).reshape(-1, 8, 8, 1)
    return Samples(ImageInputs(shades) if inputs is None else inputs, ids, labels, None, CLASSES)
