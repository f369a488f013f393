"""What a sample looks like on a page: its picture, or its values."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ray_mentor.data.samples.inputs import AbstractInputs, FeatureInputs, ImageInputs
from ray_mentor.data.samples.texts.inputs import AbstractTexts, TextInputs
from ray_mentor.report.page.html import escaped

_SIDE = 96  # pixels at most
_SMALL = 32  # up to which pixels stay as they are, to be drawn large and sharp
_VALUES = 12  # that are shown
_TEXT = 500  # characters that are


def shown_inputs(inputs: AbstractInputs, rows: NDArray[np.int64], alts: list[str]) -> list[str]:
    """HTML of each row: an image with this text in its place, a text, or the first values.

    Raises:
        Exception: whatever a data set of the user's own raises.
    """
    texts = inputs.read if isinstance(inputs, TextInputs) else inputs
    if isinstance(texts, AbstractTexts):
        return [f'<p class="text">{escaped(text, _TEXT)}</p>' for text in texts.texts(rows)]
    values = _values(inputs, rows)
    pixels = _pixels(values, inputs)
    if pixels is not None:
        return [_image(each, alt) for each, alt in zip(pixels, alts, strict=True)]
    return [_listed(each.reshape(-1)) for each in values]


def _values(inputs: AbstractInputs, rows: NDArray[np.int64]) -> NDArray[Any]:
    if isinstance(inputs, FeatureInputs | ImageInputs):
        values: NDArray[Any] = inputs.values[rows]
        return values
    return next(inputs.in_parts([(rows, (0,))])).numpy()


def _pixels(values: NDArray[Any], inputs: AbstractInputs) -> NDArray[np.uint8] | None:
    """(n, H, W) or (n, H, W, 3), if these are pictures: pixels, or one or three channels first."""
    if isinstance(inputs, ImageInputs):
        bright = values if values.max(initial=0) > _DARK else _to_bytes(values, axes=(0, 1, 2, 3))
        return bright[..., 0] if values.shape[3] == 1 else bright[..., :3]
    if values.ndim == 4 and values.shape[1] in (1, 3):
        scaled = _to_bytes(values, axes=(1, 2, 3))
        return scaled[:, 0] if values.shape[1] == 1 else scaled.transpose(0, 2, 3, 1)
    return None


_DARK = 32  # of pixels of which none is brighter, as the digits', whose whitest is 16


def _to_bytes(values: NDArray[Any], axes: tuple[int, ...]) -> NDArray[np.uint8]:
    low, high = (end(values, axis=axes, keepdims=True) for end in (np.min, np.max))
    bytes_: NDArray[np.uint8] = np.nan_to_num((values - low) / np.maximum(high - low, 1e-12) * 255).astype(np.uint8)
    return bytes_


def _image(pixels: NDArray[np.uint8], alt: str) -> str:
    image = Image.fromarray(pixels)
    sharp = max(image.size) <= _SMALL
    content = io.BytesIO()
    if sharp:
        image.save(content, "PNG", optimize=True)
    else:
        image.thumbnail((_SIDE, _SIDE))
        image.save(content, "WEBP", quality=80)
    data = base64.b64encode(content.getvalue()).decode()
    kind = "png" if sharp else "webp"
    look = ' class="sharp"' if sharp else ""
    return f'<img{look} src="data:image/{kind};base64,{data}" alt="{escaped(alt)}" width="{_SIDE}" height="{_SIDE}">'


def _listed(values: NDArray[Any]) -> str:
    texts = [f"{float(value):.4g}" for value in values[:_VALUES]]
    more = f" … ({len(values)} values)" if len(values) > _VALUES else ""
    return f'<p class="values">{escaped(", ".join(texts) + more)}</p>'
