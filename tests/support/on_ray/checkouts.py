"""A checkout of the project as a user has it, with all that gathers in one."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[3]
GATHERS = (
    ".venv/lib/python3.11/site-packages/torch/lib/libtorch.so",
    ".git/objects/pack/pack-1.pack",
    ".mypy_cache/3.11/torch.data.json",
    "runs/first/ledger/step-000000000-rank-0000.parquet",
    "runs/first/checkpoints/step-000000100.pt",
    "data/cifar10/train-0.parquet",
    "cifar10/train-0.parquet",
    "stray.parquet",
    "ray_mentor/__pycache__/cli.cpython-311.pyc",
)
"""Files that come to lie in a checkout, none of which a job needs."""

BYTES = 6_000_000


def make_checkout(folder: Path) -> Path:
    """A copy of the project's own files in ``folder``, and :data:`GATHERS` beside them, each of :data:`BYTES`."""
    shutil.copytree(ROOT, folder, ignore=_not_ours)
    for name in GATHERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("wb") as file:
            file.truncate(BYTES)
    return folder


def _not_ours(folder: str, names: list[str]) -> set[str]:
    """What lies in a folder of this checkout and is not the project's."""
    everywhere = {name for name in names if name == "__pycache__" or name.endswith((".egg-info", ".parquet"))}
    if Path(folder) != ROOT:
        return everywhere
    hidden = {name for name in names if name.startswith(".") and name not in (".ci", ".gitignore", ".rayignore")}
    return everywhere | hidden | {"runs", "data", "build"}
