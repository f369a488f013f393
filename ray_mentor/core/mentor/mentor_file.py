"""A mentor as a file that another run begins with: its params, and what it is made of and sees."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ray_mentor.config import MentorConfig
from ray_mentor.core.mentor.learner import EVIDENCE, MentorLearner, MentorState
from ray_mentor.core.plain_load import load_plain
from ray_mentor.errors import UserError, shown

MENTOR_FILE = "mentor.npz"
"""Of a run whose mentor learns, in its folder."""

_ABOUT, _PARAM, _MOST_BYTES = "about", "param.", 256 << 20
_UNITS = {True: "in nats", False: "in units of their own"}


def mentor_bytes(state: MentorState, config: MentorConfig, n_classes: int, *, in_nats: bool) -> bytes:
    """The content of a mentor file: its params, and not what it knows of these data's classes.

    Args:
        n_classes: C; kept where the mentor sees the label.
        in_nats: whether the losses that it saw were in nats, or in units of their own.
    """
    params = load_plain(state.payload)["mentor"]
    about = json.dumps(_about(config, n_classes, in_nats=in_nats))
    content = io.BytesIO()
    table: dict[str, Any] = {
        _ABOUT: np.array(about),
        **{_PARAM + name: value.numpy() for name, value in params.items() if not name.startswith(EVIDENCE)},
    }
    np.savez(content, **table)
    return content.getvalue()


def begun_as(path: str, config: MentorConfig, n_classes: int, seed: int, *, in_nats: bool) -> MentorLearner:
    """A mentor with the params of a file, which has learnt nothing since.

    Nothing in the file is executed.

    Args:
        path: a mentor file, or the folder of a run that holds one.
        config: of the mentor that is to begin so.

    Raises:
        UserError: no such file, a damaged one, or a mentor that is made of or sees something else; the message names
            both.
    """
    name, table = _read(path)
    _check_same(name, _described(name, table), _about(config, n_classes, in_nats=in_nats))
    return _with_params(name, table, MentorLearner(config, n_classes, seed))


def _with_params(name: str, table: Mapping[str, Any], learner: MentorLearner) -> MentorLearner:
    try:
        learner.begin_as({key[len(_PARAM) :]: _tensor(table[key]) for key in table if key.startswith(_PARAM)})
    except Exception as error:  # names, shapes and types that none of its kind has
        raise _damaged(name, error) from error
    return learner


def _about(config: MentorConfig, n_classes: int, *, in_nats: bool) -> dict[str, Any]:
    """What two mentors must have in common for one to take the other's params, and for these to mean the same."""
    features = config.mentor_features
    about: dict[str, Any] = {"mentor": config.mentor, "losses": _UNITS[in_nats]}
    if config.mentor == "mlp":
        about.update(mentor_hidden=list(config.mentor_hidden), mentor_features=list(features))
    elif config.mentor != "cmw":
        about.update(mentor_embedding=list(config.mentor_embedding), sees_label="label" in features)
    if config.mentor == "lstm" or (config.mentor == "mlp" and "history" in features):
        about["history_length"] = config.history_length
    if config.sees_label:
        about["classes"] = n_classes
    return about


def file_of(path: str) -> Path:
    """The mentor file that a run's folder, or the file's own path, stands for."""
    return Path(path) / MENTOR_FILE if Path(path).is_dir() else Path(path)


def _read(path: str) -> tuple[str, dict[str, Any]]:
    file = file_of(path)
    if not file.is_file():
        raise UserError(
            f"mentor_from is {shown(path)}, but there is no file {file}; give the folder of a finished run whose "
            f"mentor learned, or its {MENTOR_FILE}"
        )
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it is larger than {_MOST_BYTES >> 20} MiB")
        with np.load(file, allow_pickle=False) as opened:
            return str(file), {name: opened[name] for name in opened.files}
    except Exception as error:  # whatever a file that is none trips over
        raise _damaged(str(file), error) from error


def _described(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    try:
        about = json.loads(str(table[_ABOUT]))
        if not isinstance(about, dict):
            raise ValueError(f"it says {shown(about)} of itself")
    except Exception as error:  # [[[[... is a RecursionError
        raise _damaged(name, error) from error
    return about


def _check_same(name: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    for key in sorted({*there, *here}):
        if there.get(key) != here.get(key):
            raise UserError(
                f"the mentor of {name} has {key} {shown(there.get(key))}, but the one that is to begin so has "
                f"{shown(here.get(key))}; they must be the same"
            )


def _tensor(value: Any) -> Tensor:
    tensor = torch.from_numpy(np.array(value))
    if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
        raise ValueError("it holds something else than finite floats")
    return tensor


def _damaged(name: str, error: Exception) -> UserError:
    return UserError(
        f"{name} is no mentor file ({type(error).__name__}: {shown(str(error))}); give the {MENTOR_FILE} of a run"
    )


def frozen_from(path: str) -> MentorLearner:
    """The mentor of a file as it is, whatever it is made of; it is not to learn.

    Raises:
        UserError: no such file, or a damaged one.
    """
    name, table = _read(path)
    about = _described(name, table)
    fields = {field.name for field in dataclasses.fields(MentorConfig)}
    try:
        made: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in about.items() if key in fields
        }
        if about.get("sees_label"):
            made["mentor_features"] = (*MentorConfig.mentor_features, "label")
        config = dataclasses.replace(MentorConfig(class_evidence=0.0), **made)
        classes, in_nats = int(about.get("classes", 1)), about["losses"] == _UNITS[True]
        learner = MentorLearner(config, classes, seed=0)
    except UserError:
        raise
    except Exception as error:
        raise _damaged(name, error) from error
    _check_same(name, about, _about(config, classes, in_nats=in_nats))
    return _with_params(name, table, learner)


def check_is_shown_the_same(path: str, config: MentorConfig, n_classes: int | None, *, in_nats: bool) -> None:
    """Refuses a run in which a mentor's features would mean something else than where it learned.

    Args:
        n_classes: C; None: nobody has said.
        in_nats: whether the run shows losses in nats.

    Raises:
        UserError: losses in other units, a history of another length or other classes, as far as the mentor sees them;
            no such file, or a damaged one. The message names both.
    """
    name, table = _read(path)
    there = _described(name, table)
    here = {"losses": _UNITS[in_nats], "history_length": config.history_length, "classes": n_classes}
    for key, value in here.items():
        if key in there and value is not None and there[key] != value:
            raise UserError(
                f"the mentor of {name} has {key} {shown(there[key])}, but this run has {shown(value)}, so that it "
                "would not know what it sees; they must be the same"
            )
