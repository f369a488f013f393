"""Small data sets for the tests of this folder."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ray_mentor.data import FeatureInputs, ImageInputs, Samples


def image_bytes(value, size=(4, 4), mode="RGB", format="PNG"):
    """One encoded image whose pixels depend on the value, without loss."""
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    pixels = np.random.default_rng(value).integers(0, 256, shape, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


def write(path: Path, columns: dict, metadata: dict | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path


def write_images(path: Path, count=20, classes=2, first=0, mode="RGB", **columns) -> Path:
    images = [image_bytes(first + i, mode=mode) for i in range(count)]
    return write(path, {"image": images, "label": [i % classes for i in range(count)], **columns})


def hugging_face(names, label="label") -> dict:
    return {"huggingface": json.dumps({"info": {"features": {label: {"names": names, "_type": "ClassLabel"}}}})}


def feature_samples(n=1000, classes=10, truth=None, seed=0) -> Samples:
    draw = np.random.default_rng(seed)
    values = draw.standard_normal((n, 6)).astype(np.float32)
    names = tuple(map(str, range(classes)))
    return Samples(FeatureInputs(values), np.arange(n), draw.integers(0, classes, n), truth, names)


def image_samples(n=30, classes=3) -> Samples:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    return Samples(ImageInputs(pixels), np.arange(n), np.arange(n) % classes, None, tuple("abcdefghij"[:classes]))
