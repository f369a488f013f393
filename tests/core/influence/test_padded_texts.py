"""Padding a batch of texts changes no loss and no influence, which are those of real steps; float64, a tiny BERT."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from stand_ins import Spy
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from truth_curriculum import as_batch, changed, make_curriculum, make_learner, mentor_of

from ray_mentor.students.from_hf import with_logits

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.long  # their package takes seconds to load

CLASSES, WORDS, PAD, LONGEST = 3, 30, 0, 9
LENGTHS = [3, 9, 5, 7, 4, 6]


def made_student(kind: str, attention: str) -> nn.Module:
    sizes: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_labels": CLASSES}
    if kind == "distilbert":
        sizes = {"n_layers": 2, "n_heads": 2, "dim": 8, "hidden_dim": 12, "num_labels": CLASSES}
        config = transformers.DistilBertConfig(**sizes, vocab_size=WORDS, max_position_embeddings=32, pad_token_id=PAD)
    else:
        of = {"bert": transformers.BertConfig, "roberta": transformers.RobertaConfig}[kind]
        config = of(
            **sizes, hidden_size=8, intermediate_size=12, vocab_size=WORDS, max_position_embeddings=32, pad_token_id=PAD
        )
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"):
        if hasattr(config, name):
            setattr(config, name, 0.0)  # drawn anew for each shape
    config.seq_classif_dropout = 0.0
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_config(config, attn_implementation=attention)
    for param in model.parameters():
        param.data += 0.3 * torch.randn_like(param)  # logits that differ
    return with_logits(model.double().train(), (LONGEST,))


def texts(lengths: list[int], seed: int, more: int = 0) -> tuple[Tensor, Tensor]:
    """Padded to the longest, and ``more`` beyond."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.full((len(lengths), max(lengths) + more), PAD)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(1, WORDS, (length,), generator=draw)
    return ids, torch.randint(CLASSES, (len(lengths),), generator=draw)


def meta_loss_after(
    student: nn.Module, batch: tuple[Tensor, Tensor], weights: Tensor, meta: tuple[Tensor, Tensor]
) -> float:
    """Of a copy of the student, after a real step under these weights."""
    moved = copy.deepcopy(student)
    optimizer = torch.optim.SGD(moved.parameters(), lr=0.3)
    (weights * cross_entropy(moved(batch[0]), batch[1], reduction="none")).sum().backward()
    optimizer.step()
    with torch.no_grad():
        return float(cross_entropy(moved(meta[0]), meta[1]))


STEP = 1e-5


@pytest.mark.parametrize(
    ("kind", "attention"), [("bert", "sdpa"), ("bert", "eager"), ("distilbert", "sdpa"), ("roberta", "sdpa")]
)
def test_padding_changes_nothing(kind: str, attention: str) -> None:
    """A batch padded to its longest, by 5 and by 13 more: the same losses, influences and params, as of real steps."""
    config, whole, found = changed(update_interval=1), made_student(kind, attention), []
    for more in (0, 5, 13):
        student = copy.deepcopy(whole)
        optimizer = torch.optim.SGD(student.parameters(), lr=0.3)
        access = Spy(make_learner(config, CLASSES))
        batch, meta = texts(LENGTHS, 1, more), texts([4, 8, 6, 5], 2, more=13 - more)
        curriculum = make_curriculum(student, optimizer, meta, config=config, access=access)
        mentor = mentor_of(access.state, config, CLASSES)
        record = curriculum.step(as_batch(batch))
        params = torch.cat([param.detach().flatten() for param in student.parameters()])
        found.append((record.losses, record.influence, params))
        if more == 0:
            w = mentor.sample_weights(access.updates[0].features).detach()
            nudges = STEP * torch.eye(len(w), dtype=w.dtype)
            ends = [[meta_loss_after(whole, batch, w / w.sum() + s * n, meta) for s in (1, -1)] for n in nudges]
            slopes = torch.tensor([(up - down) / (2 * STEP) for up, down in ends], dtype=torch.float64)
            torch.testing.assert_close(record.influence, slopes, rtol=1e-5, atol=1e-8)
    first = found[0]
    assert first[1].abs().min() > 1e-6
    for each in found[1:]:
        for mine, other in zip(first, each, strict=True):
            torch.testing.assert_close(other, mine, rtol=1e-9, atol=1e-12)


def test_without_a_mask_padding_would_be_seen() -> None:
    """So that the test above can fail."""
    student = made_student("bert", "sdpa")
    (ids, _), (padded, _) = texts(LENGTHS, 1), texts(LENGTHS, 1, 5)
    unmasked = [type(student).forward(student, input_ids=each).logits for each in (ids, padded)]
    assert (unmasked[0] - unmasked[1]).abs().max() > 1e-3
