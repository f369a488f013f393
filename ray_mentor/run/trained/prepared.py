"""What a user has in Python, brought to what a student is fed: an image, texts, arrays, tables, data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ray_mentor.data.python.given import is_of
from ray_mentor.data.readers.pictures.decode import (
    BrokenImageError,
    OtherImageError,
    by,
    decode,
    open_image,
)
from ray_mentor.data.samples.dataset_inputs import DatasetInputs
from ray_mentor.data.samples.inputs import middle
from ray_mentor.data.samples.texts.ragged import Ragged, Some
from ray_mentor.data.samples.texts.tokens import Tokens
from ray_mentor.errors import UserError, listed, shown
from ray_mentor.run.trained.fed import FEATURES, IMAGES, Input


def prepared(fed: Input, image: str | PathLike[str] | Image.Image) -> NDArray[Any]:
    """Pixels or token ids, as :meth:`Student.prepare <ray_mentor.run.trained.student.Student.prepare>` gives them."""
    if fed.tokens is not None:
        return _tokens(fed.tokens, image)
    if fed.kind != IMAGES:
        raise UserError(f"the student takes {fed}, which have nothing to prepare; give them to predict as they are")
    what = "the image" if isinstance(image, Image.Image) else f"the image {shown(str(image))}"
    try:
        opened = image.copy() if isinstance(image, Image.Image) else open_image(Path(image).read_bytes())
        pixels, _ = decode(opened, fed.resize)
    except OSError as error:
        raise UserError(f"{what} can't be read ({error.strerror or error}); name a file that is there") from error
    except (BrokenImageError, OtherImageError) as error:
        raise UserError(f"{what} {error}") from error
    height, width, channels = fed.stored_shape
    if fed.resize is not None:
        pixels = middle(pixels[None], height, width)[0]
    elif pixels.shape[:2] != (height, width):
        found = by((pixels.shape[1], pixels.shape[0]))
        raise UserError(
            f"{what} is {found}, but the student was trained on images of {by((width, height))} (width×height) and "
            "resizes none; bring it to that"
        )
    if pixels.shape[2] > channels:
        if (pixels != pixels[..., :1]).any():
            raise UserError(f"{what} is in colour, but the student was trained on grey images; make it grey first")
        pixels = pixels[..., :1]
    return np.ascontiguousarray(np.broadcast_to(pixels, (height, width, channels)))


def _tokens(tokens: Tokens, text: object) -> NDArray[np.int64]:
    if not isinstance(text, str):
        raise UserError(f"the student takes texts, but is given a {type(text).__name__}; give a string")
    ids, _ = tokens.encode([text])
    return np.array(ids[0], np.int64)


def raw_parts(fed: Input, inputs: Any, size: int) -> Iterator[Tensor]:
    """What :meth:`Student.predict <ray_mentor.run.trained.student.Student.predict>` is given, as raw inputs.

    Args:
        size: how many at a time.

    Raises:
        UserError: what can't be that.
    """
    if any(is_of(inputs, home, name) for home, name in _TABLES):
        inputs = inputs.to_pandas()
    if isinstance(inputs, pd.DataFrame):
        inputs = _by_name(fed, inputs)
    is_array = isinstance(inputs, list | tuple | str) or hasattr(inputs, "__array__")
    if not is_array and hasattr(inputs, "__getitem__"):
        data = DatasetInputs(inputs)
        parts = (data.take(rows) for rows in np.split(np.arange(len(data)), range(size, len(data), size)))
    else:
        parts = iter(_stacked(inputs).split(size))
    for raw in parts:
        shown_grey = fed.kind == IMAGES and fed.shape[0] == 1 and raw.ndim == len(fed.shape)
        raw = raw[..., None] if shown_grey else raw
        fed.check(raw)
        yield raw


_TABLES = (("datasets", "Dataset"), ("ray", "Dataset"), ("ray", "MaterializedDataset"))


def _stacked(inputs: Any) -> Tensor:
    if isinstance(inputs, Tensor):
        return inputs
    try:
        return torch.from_numpy(np.ascontiguousarray(inputs))
    except (TypeError, ValueError) as error:
        raise UserError(
            f"the inputs are a {type(inputs).__name__} that is no array of numbers ({error}); give an array, a tensor, "
            "a data frame or a data set of (input, label)"
        ) from error


def _by_name(fed: Input, frame: pd.DataFrame) -> NDArray[np.float32]:
    """Features by their names; in their order, where they have none."""
    if fed.kind != FEATURES:
        how = "prepare(image) makes pixels of each" if fed.kind == IMAGES else "give a data set of such, or an array"
        raise UserError(f"the inputs are a table, but the student takes {fed} of shape {fed.shape}; {how}")
    names = fed.names or tuple(map(str, frame.columns))
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise UserError(
            f"the data frame lacks {listed(missing, 5)} ({len(missing)}); its columns are "
            f"{listed(map(str, frame.columns), 20)}: the student was trained on {len(names)} features, by name"
        )
    try:
        return frame[list(names)].to_numpy(np.float32) if fed.names else frame.to_numpy(np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"the data frame's features are not all numbers ({error}); convert them") from error


def of_texts(
    fed: Input, given: Any, batch_size: int, n_classes: int, probabilities: Callable[[Tensor], Tensor]
) -> NDArray[np.float32]:
    """Probabilities (N, C) of strings, those of one length in one batch; also of a data frame's column of them.

    Args:
        probabilities: of a batch of token ids.
    """
    if any(is_of(given, home, name) for home, name in _TABLES):
        given = given.to_pandas()
    if isinstance(given, pd.DataFrame):
        column = next(iter(fed.names), None)
        if column not in given.columns:
            raise UserError(
                f"the data frame has no column {column!r}, which the student was trained on the texts of; its columns "
                f"are {listed(map(str, given.columns), 20)}"
            )
        given = given[column]
    texts = [given] if isinstance(given, str) else list(given)
    if not all(isinstance(each, str) for each in texts):
        raise UserError("the inputs are not all texts, which the student takes; give a list of strings")
    assert fed.tokens is not None
    ids, _ = fed.tokens.encode(texts) if texts else ([], 0)
    order = np.argsort([len(each) for each in ids], kind="stable")
    ragged, found = Ragged([Some.of(ids)]), np.zeros((len(ids), n_classes), np.float32)
    for start in range(0, len(ids), batch_size):
        rows = order[start : start + batch_size]
        found[rows] = probabilities(torch.from_numpy(ragged.padded(rows, fed.tokens.pad))).numpy()
    return found
