"""A model of texts, trained on batches of token ids of which 0 is padding, with a mentor."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from ray_mentor import CurriculumTrainer, MentorConfig
from ray_mentor.students import make_student, source_of

pytestmark = pytest.mark.long

LENGTH, CLASSES, VOCABULARY = 6, 2, 12


def texts(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Of class 1 are those that hold a token above 8; padded to one length."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % CLASSES
    ids = torch.randint(1, 9, (n, LENGTH), generator=draw)
    ids[labels == 1, 0] = torch.randint(9, VOCABULARY, (n // 2,), generator=draw)
    ids[::3, -2:] = 0
    return ids, labels


def test_a_bert_learns_from_token_ids(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        vocab_size=VOCABULARY,
        max_position_embeddings=LENGTH,
        pad_token_id=0,
    )
    config.save_pretrained(tmp_path / "bert")
    name = f"hf:{tmp_path / 'bert'}"
    (ids, labels), meta, test = texts(160, 0), texts(40, 1), texts(60, 2)
    given = labels.clone()
    given[::5] = 1 - given[::5]
    trainer = CurriculumTrainer(
        partial(make_student, name, (LENGTH,), CLASSES, source=source_of(name)),
        TensorDataset(ids, given),
        TensorDataset(*meta),
        test=TensorDataset(*test),
        clean_test=True,
        mentor=MentorConfig(update_interval=4),
        optimizer=lambda params: torch.optim.AdamW(params, lr=5e-3),
        epochs=8,
        batch_size=20,
        workers=0,
        run_name="texts",
        storage_path=str(tmp_path),
    )
    result = trainer.fit().result
    assert result["test_accuracy"] > 0.9
    assert result["meta_updates"] > 5
    assert result["guards"]["inconsistent_updates"] == 0
