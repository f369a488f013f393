"""What makes a run's ``student/`` a folder of Hugging Face's, where the student is one of theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ray_mentor.core.student.random_state import untouched
from ray_mentor.run.trained.about import About
from ray_mentor.run.trained.fed import IMAGES, Input
from ray_mentor.run.trained.files import CONFIG, PROCESSOR

_BILINEAR = 2  # of Pillow's ways to resample


def is_hub_student(about: About) -> bool:
    """Whether the student is named ``hf:...``."""
    return about.build is not None and str(about.build.get("name")).startswith("hf:")


def hub_files(about: About, build: Callable[[], nn.Module]) -> dict[str, bytes]:
    """``config.json``, with the classes' names, and for images ``preprocessor_config.json``, by their names.

    With ``model.safetensors`` beside them ``from_pretrained`` opens the folder, and ``transformers.pipeline`` predicts
    with it. None of a student that is not theirs.
    """
    if not is_hub_student(about):
        return {}
    with untouched(torch.device("cpu")):
        module: Any = build()
    config = module.config
    config.id2label = dict(enumerate(about.classes))
    config.label2id = {name: place for place, name in enumerate(about.classes)}
    config.architectures = [type(module).__name__]
    files = {CONFIG: config.to_json_string().encode()}
    if about.input.kind == IMAGES:
        files[PROCESSOR] = (json.dumps(_processor(about.input), indent=2) + "\n").encode()
    return files


def _processor(fed: Input) -> dict[str, Any]:
    """What makes pixels what the student is fed, in the words of ``transformers``."""
    height, width = fed.shape[1:]
    resizes = fed.resize is not None
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": fed.shape[0] > 1,
        "do_resize": resizes,
        "size": {"shortest_edge": fed.resize if resizes else min(height, width)},
        "resample": _BILINEAR,
        "do_center_crop": resizes,
        "crop_size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(fed.mean),
        "image_std": list(fed.std),
    }
