"""What needs an extra: the package itself installs with PyTorch and NumPy, for training loops of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ray_mentor.errors import UserError

_RAY = (
    "PIL",
    "pandas",
    "plotly",
    "pyarrow",
    "ray",
    "rich",
    "safetensors",
    "sklearn",
    "tensorboardX",
    "torchvision",
    "tyro",
    "yaml",
)
MODULES = {
    "ray": _RAY,
    "tune": (*_RAY, "optuna", "scipy"),
    "plot": ("matplotlib",),
    "hf": ("transformers", "datasets"),
    "timm": ("timm",),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
}
"""Extra to the modules that are there with it, and of which some aren't without."""


class MissingExtraError(UserError, ImportError):
    """A part of the package was asked for whose extra is not installed."""


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Around the imports of what needs an extra.

    Args:
        extra: one of ``MODULES``.
        what: is asked for, for the error.

    Raises:
        MissingExtraError: a module of the extra is not there; it says what to install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in MODULES[extra]:
            raise
        raise MissingExtraError(
            f"{what} needs {missing}, which is not installed; pip install 'ray-mentor[{extra}]'"
        ) from error
