"""torchvision's models for classes of images: ``torchvision:NAME``."""

from __future__ import annotations

from torch import nn
from torchvision import models

from ray_mentor.students.images import channels_of, fit_first_layer


def names() -> list[str]:
    """Of all that there are."""
    found: list[str] = models.list_models(module=models)
    return found


def build(name: str, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """The model of this name with fresh params.

    Raises:
        UserError: the input is no image.
        Exception: whatever the model's own code says of so large an image.
    """
    channels = channels_of(f"torchvision:{name}", input_shape)
    made: nn.Module = models.get_model(name, num_classes=n_classes, **_options(name, input_shape))
    fit_first_layer(made, channels)
    return made


def _options(name: str, input_shape: tuple[int, ...]) -> dict[str, object]:
    if name.startswith("vit_"):
        return {"image_size": min(input_shape[1:])}  # which must be both
    if name.startswith("maxvit_"):
        return {"input_size": tuple(input_shape[1:])}
    if name in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "init_weights": True}  # logits alone; without a word about the slow first draw
    return {}
