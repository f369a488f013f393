"""The curriculum in a Hugging Face Trainer: a tiny random BERT, 40 % wrong labels; needs transformers, accelerate."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

from ray_mentor import LearnedCurriculum, MentorConfig


def losses_of(outputs: Any, labels: Tensor) -> Tensor:
    """One a sample."""
    return F.cross_entropy(outputs.logits, labels, reduction="none")


class CurriculumTrainer(Trainer, TrainerCallback):
    """Weighs in compute_loss; lets the mentor learn in on_optimizer_step, before the gradients are cleared."""

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        mentor = MentorConfig(mentor_learning_rate=0.02, update_interval=2, meta_loss="error")  # 1 − p_y
        arguments = {"total_steps": self.state.max_steps, "loss": losses_of, "mentor": mentor}
        self.curriculum = LearnedCurriculum(self.model_wrapped, self.optimizer.optimizer, trusted, **arguments)

    def compute_loss(self, model: Any, inputs: dict[str, Tensor], *_: Any, **__: Any) -> Tensor:
        labels = inputs.pop("labels")
        losses = losses_of(model(**inputs), labels)
        return self.curriculum.weigh(losses, labels=labels) if model.training else losses.mean()

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.curriculum.after_step()


def texts(n: int, seed: int, noise: float) -> list[dict[str, Tensor]]:
    """Words 0..69 or 30..99, by class; a share of the labels is wrong."""
    draw = torch.Generator().manual_seed(seed)
    truth = torch.randint(2, (n,), generator=draw)
    words = torch.randint(70, (n, 16), generator=draw) + 30 * truth[:, None]
    labels = truth ^ (torch.rand(n, generator=draw) < noise)
    return [{"input_ids": row, "labels": label} for row, label in zip(words, labels, strict=True)]


if __name__ == "__main__":
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model = BertForSequenceClassification(BertConfig(vocab_size=100, **sizes))
    trusted = torch.utils.data.DataLoader(texts(100, 1, 0.0), batch_size=50, shuffle=True)
    options = {"num_train_epochs": 10, "learning_rate": 2e-3, "per_device_train_batch_size": 64, "save_strategy": "no"}
    settings = TrainingArguments(tempfile.mkdtemp(), **options, report_to="none", disable_tqdm=True, use_cpu=True)
    trainer = CurriculumTrainer(model, settings, train_dataset=texts(960, 0, 0.4))
    trainer.add_callback(trainer)
    trainer.train()
    rows = torch.utils.data.default_collate(texts(500, 2, 0.0))
    right = model.eval()(rows["input_ids"]).logits.argmax(1) == rows["labels"]
    print(f"test accuracy {float(right.double().mean()):.3f}")
