"""Hugging Face's models for classes of images or of texts: ``hf:FOLDER``, or a name on the Hub.

Their config travels with the job; whoever builds one needs neither folder nor Hub. Code of a model's own is not run.
"""

from __future__ import annotations

import json
import os
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from ray_mentor.core.student.trained import last_layer
from ray_mentor.errors import UserError, listed, shown
from ray_mentor.students.images import channels_of

_IMAGE, _TEXT = 3, 1  # dimensions of an input
_SHOWN = 3  # names in a message


def config_of(name: str) -> bytes:
    """What the folder or the Hub says of the model, as JSON.

    Raises:
        UserError: nothing is said there, or by code alone.
    """
    try:
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # no such folder, no network, a damaged file, code of its own
        says = next(iter(str(error).splitlines()), "")
        there = "its config can't be read" if os.path.isdir(name) else "there is no such folder, nor one on the Hub"
        raise UserError(
            f"student is {shown(f'hf:{name}')}, but {there} ({type(error).__name__}: {says}); give a folder that "
            "save_pretrained wrote"
        ) from error
    return json.dumps(config.to_dict()).encode()


def build(name: str, source: bytes, input_shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """The model for classes of images (channels, height, width), or of texts (tokens,), with fresh params.

    It takes a batch alone, of pixels or of token ids, where the config's ``pad_token_id`` is padding; and returns
    logits.

    Raises:
        UserError: there is no model of this kind for such inputs.
    """
    config = _fitted(name, source, input_shape, n_classes)
    return with_logits(_kind(name, config, input_shape).from_config(config, trust_remote_code=False), input_shape)


def pretrained(
    name: str, source: bytes, input_shape: tuple[int, ...], n_classes: int
) -> tuple[dict[str, Tensor], list[str]] | None:
    """The params that lie with the config, for the model that :func:`build` makes, and the names of those it lacks.

    None where there are none.

    Raises:
        UserError: they can't be read, or are of images of another size.
    """
    if os.path.isdir(name) and not any(file.endswith((".safetensors", ".bin")) for file in os.listdir(name)):
        return None
    config = _fitted(name, source, input_shape, n_classes)
    try:
        with _quiet():
            made, said = _kind(name, config, input_shape).from_pretrained(
                name, config=config, ignore_mismatched_sizes=True, output_loading_info=True, trust_remote_code=False
            )
    except Exception as error:
        says = next(iter(str(error).splitlines()), "")
        raise UserError(
            f"the params of student {shown(f'hf:{name}')} can't be read ({type(error).__name__}: {says}); give a "
            "folder that save_pretrained wrote"
        ) from error
    other = [each[0] for each in said["mismatched_keys"]]
    unlike = [each for each in other if each not in last_layer(made)]
    if unlike:
        raise UserError(
            f"the params of student {shown(f'hf:{name}')} are for other inputs than those of shape {input_shape} "
            f"({listed(unlike, _SHOWN)}); {_size_of(source)}or a folder that holds the config alone"
        )
    return made.state_dict(), sorted({*said["missing_keys"], *other})


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a report and a bar of transformers' own; what there is to say, a run's notes say."""
    logging: Any = transformers.utils.logging
    before, with_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if with_bar:
            logging.enable_progress_bar()


def _size_of(source: bytes) -> str:
    size = json.loads(source).get("image_size")
    return f"give images that they are for, e.g. --image-size {size}, " if isinstance(size, int) else "give such, "


def with_logits(model: nn.Module, input_shape: tuple[int, ...]) -> nn.Module:
    """The same model; it takes a batch of pixels or token ids alone, and returns its logits."""
    forward = _of_texts if len(input_shape) == _TEXT else _of_images
    model.forward = types.MethodType(forward, model)
    return model


def is_ones(model: nn.Module) -> bool:
    """Whether it is a model of Hugging Face's."""
    return isinstance(model, transformers.PreTrainedModel)


def _of_images(self: nn.Module, pixels: Tensor) -> Tensor:
    return _logits(type(self).forward(self, pixel_values=pixels))


def _of_texts(self: nn.Module, ids: Tensor) -> Tensor:
    padding = getattr(self.config, "pad_token_id", None)
    mask = torch.ones_like(ids) if padding is None else (ids != padding).to(ids.dtype)
    return _logits(type(self).forward(self, input_ids=ids, attention_mask=mask))


def _logits(outputs: Any) -> Tensor:
    found: Tensor = outputs.logits if hasattr(outputs, "logits") else outputs
    return found


def _fitted(name: str, source: bytes, input_shape: tuple[int, ...], n_classes: int) -> Any:
    """The config with the data's classes and, of images, channels and size."""
    table = json.loads(source)
    kind = transformers.CONFIG_MAPPING[table["model_type"]]
    config = kind.from_dict(table)
    config.num_labels = n_classes
    if len(input_shape) == _IMAGE:
        config.num_channels = channels_of(f"hf:{name}", input_shape)
        if hasattr(config, "image_size"):
            height, width = input_shape[1:]
            config.image_size = height if height == width else (height, width)
    return config


def _kind(name: str, config: Any, input_shape: tuple[int, ...]) -> Any:
    """What makes models of this config."""
    kinds: dict[int, tuple[str, Any]] = {
        _IMAGE: ("images", transformers.AutoModelForImageClassification),
        _TEXT: ("texts", transformers.AutoModelForSequenceClassification),
    }
    what, auto = kinds.get(len(input_shape), ("such inputs", None))
    if auto is None or type(config) not in auto._model_mapping:
        raise UserError(
            f"student {shown(f'hf:{name}')} is a {config.model_type}, which has no form for classes of {what}, and the "
            f"input has shape {input_shape}; give another --student, or other data"
        )
    return auto
