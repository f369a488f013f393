"""The student and how it is optimised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ray_mentor.config.values import require
from ray_mentor.errors import one_of

SUITED: Mapping[str, Mapping[str, Any]] = {"byte-gpt": {"optimizer": "adamw", "learning_rate": 0.003}}
"""Settings of a student, by its name, that are other than :class:`StudentConfig`'s where a table of settings names the
student, but not them."""


@dataclass(frozen=True)
class StudentConfig:
    """The student and how it is optimised."""

    student: str = "mlp"
    """mlp, cnn, resnet32 or wrn-28-10; of plain text byte-gpt, with adamw and a learning_rate of 0.003 unless you say
    otherwise; torchvision:NAME, as in torchvision:resnet50; timm:NAME; hf:FOLDER, or a name on the Hub; or a function
    of your own that takes the shape of an input and the number of classes: FILE.py:FUNCTION, MODULE:FUNCTION."""
    student_weights: str | None = None
    """File of params that the student begins with, safetensors or PyTorch's, read as data; the last layer's may be of
    other classes."""
    freeze: tuple[str, ...] = ()
    """Params that are not trained, by patterns of their names, as in layer1.* or conv1.weight,layer1.*."""
    sync_batch_norm: bool = False
    """Batch norm over the global batch of all workers instead of each worker's own share."""
    precision: Literal["float32", "bf16"] = "float32"
    """Of the student's passes, meta steps and measurements included: float32, or bf16 by autocast; params, losses and
    the mentor stay float32."""
    channels_last: bool = False
    """Keep a convolutional student's params channels last in memory, as its images are: faster with bf16 on a GPU."""
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """Optimizer of the student."""
    learning_rate: float = 0.08
    """Peak learning rate of the student, > 0."""
    learning_rate_head: float | None = None
    """Peak learning rate of the student's last layer, > 0; the student's if not given."""
    momentum: float = 0.9
    """Momentum of sgd, in [0, 1)."""
    nesterov: bool = True
    """Nesterov's form of the momentum (sgd)."""
    weight_decay: float = 5e-4
    """Weight decay of the student's params, >= 0."""
    clip: float = 0.0
    """Largest norm of the student's gradient, over all params; a longer one is shortened; 0: any."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate over training: cosine to 0, or constant."""
    warm_up: float = 0.0
    """Steps in which the learning rate rises in a line from 0, before the schedule; below 1 it is their share of
    training."""
    ema: float = 0.0
    """Decay of an exponential average of the student's params, measured and kept beside it; in [0, 1), 0: none."""

    def __post_init__(self) -> None:
        one_of(self.precision, ("float32", "bf16"), "precision")
        one_of(self.optimizer, ("sgd", "adam", "adamw"), "optimizer")
        one_of(self.schedule, ("cosine", "constant"), "schedule")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "it must be above 0")
        if self.learning_rate_head is not None:
            require(self.learning_rate_head > 0, "learning_rate_head", self.learning_rate_head, "it must be above 0")
        require(0 <= self.ema < 1, "ema", self.ema, "it must lie in [0, 1), where 0 keeps no average")
        require(self.clip >= 0, "clip", self.clip, "it must be at least 0, which clips nothing")
        whole = self.warm_up < 1 or self.warm_up == int(self.warm_up)
        require(
            self.warm_up >= 0 and whole,
            "warm_up",
            self.warm_up,
            "it must be a share of training, below 1, or a whole number of steps",
        )
        require(0 <= self.momentum < 1, "momentum", self.momentum, "it must lie in [0, 1)")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "it must be at least 0")
        require(
            not (self.nesterov and self.optimizer == "sgd" and self.momentum == 0),
            "nesterov",
            self.nesterov,
            "it needs a momentum above 0",
            "give --no-nesterov or a momentum",
        )
