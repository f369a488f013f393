"""Texts on two workers: what one process does, though each pads its share of a batch to its own longest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import small_texts
import torch

from ray_mentor import TrainConfig, cli, train
from ray_mentor.run.outcome import Outcome

pytest.importorskip("transformers")
pytestmark = [pytest.mark.long, pytest.mark.usefixtures("local_ray")]


def test_two_workers_do_what_one_process_does(tmp_path: Path) -> None:
    """By SGD: of a bias of keys, whose gradient is 0 but for rounding, Adam makes steps of any sign."""
    data = tmp_path / "reviews.parquet"
    small_texts.reviews(120).to_parquet(data, index=False)
    name = small_texts.bert(tmp_path / "bert")

    def run(workers: int, **more: Any) -> Outcome:
        of_data = {
            "data": str(data),
            "text_column": "review",
            "noise": "symmetric:0.1",
            "meta_size": 20,
            "student": name,
        }
        cache = {"data_backend": "arrow", "data_cache": f"{tmp_path}/cache"}
        asked = {"epochs": 2, "batch_size": 16, "learning_rate": 0.02, "workers": workers}
        place = {"run_name": f"of{workers}", "storage_path": f"{tmp_path}/runs"}
        return train(TrainConfig().changed(**{**of_data, **cache, **asked, **place, **more}))

    alone, together = run(0), run(2)
    for key, value in alone.student_state.items():
        torch.testing.assert_close(together.student_state[key].cpu(), value, rtol=1e-3, atol=1e-4)
    one, other = (
        each.ledger().sort_by([("epoch", "ascending"), ("sample_id", "ascending")]) for each in (alone, together)
    )
    assert np.array(other["loss"]) == pytest.approx(np.array(one["loss"]), abs=1e-3)
    for workers in ("0", "2"):
        words = [
            "predict",
            alone.path,
            "--data",
            str(data),
            "--out",
            f"{tmp_path}/{workers}.parquet",
            "--workers",
            workers,
        ]
        assert cli.main(words) == 0
    first, second = (pq.read_table(tmp_path / f"{workers}.parquet") for workers in (0, 2))
    assert second["class"].equals(first["class"])
    assert np.array(second["probability"]) == pytest.approx(np.array(first["probability"]), abs=1e-6)
