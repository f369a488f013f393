"""What ``--help`` says: the options of every day, and what was probably meant by one that is none."""

from __future__ import annotations

import contextlib
import difflib
import io
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ray_mentor.config.described import described
from ray_mentor.errors import UserError, shown
from ray_mentor.wording import MEANT

_DATA = {
    "data": "digits, cifar10, cifar100, or your own: Parquet, CSV, JSONL, images, plain text",
    "meta_data": "the trusted samples, in a file or folder of their own",
}
_MODEL = {
    "student": "mlp, cnn, resnet32, wrn-28-10, byte-gpt, torchvision:NAME, or FILE.py:FUNCTION",
    "epochs": "passes over the training samples",
}
_RUN = {
    "seed": "of everything drawn at random",
    "workers": "student workers, by Ray; 0 trains in this process; auto: as the run's size asks for",
    "gpu": "give each worker a GPU",
    "run_name": "name of the run's folder in runs/; made up if not given",
    "resume": "go on with the run of this name",
}

TRAIN = {
    "data": _DATA["data"],
    "label_column": "the column of given labels",
    "meta_data": _DATA["meta_data"],
    "meta_size": "trusted samples taken from the training split where none are given otherwise",
    "noise": "label noise to add: none, symmetric:R, asymmetric:R, instance:R, imb:R; R below 1",
    "student": _MODEL["student"],
    "method": "mentornet (a mentor that learns), uniform, oracle, self-paced; more: --help-all",
    "epochs": _MODEL["epochs"],
    "batch_size": "samples a step, over all workers",
    "learning_rate": "of the student, at its peak",
    **_RUN,
}
"""The options of ``ray-mentor train`` that are used every day."""

TUNE = {
    "trials": "settings to try; the space says how many if not given",
    "scheduler": "which trials go on: asha, pbt, or none (all to the end)",
    "search": "what is tried next: random, optuna, or pareto (accuracy against seconds)",
    "objective": "accuracy, or gap-per-cost; the space says which if not given",
    "concurrent": "trials at a time; as many as fit if not given",
    "confirm_seeds": "fresh seeds on which the best is compared with what it began from",
    **_DATA,
    **_MODEL,
    **_RUN,
    "workers": "student workers of each trial; 0 and auto: a trial is one process",
    "run_name": "name of the sweep's folder in runs/; made up if not given",
    "resume": "go on with the sweep of this name",
}
"""The options of ``ray-mentor tune`` that are used every day."""

COMPARE = {
    "methods": "which, as in a,b; NAME=FILE.toml is one of your own; --help-all lists them",
    "preset": "methods by what is asked: quick, seed or all; quick if none are given",
    "seeds": "seeds of each method",
    "noises": "compare at each of these, as in symmetric:0.2,symmetric:0.4",
    "meta_sizes": "compare with each of these numbers of trusted samples, as in 0,10,100",
    "concurrent": "runs at a time; as many as fit if not given",
    **_DATA,
    "noise": TRAIN["noise"],
    **_MODEL,
    "seed": "the first one",
    "run_name": "name of the comparison's folder in runs/; made up if not given",
    "resume": "go on with the comparison of this name, also with more methods or seeds",
    "learning_rate": "of the student, at its peak",
}
"""The options of ``ray-mentor compare`` that are used every day."""

_EXAMPLES = {
    "ray-mentor train": (
        ("ray-mentor train", "digits, 40 % of whose labels are wrong"),
        ("ray-mentor train --data photos.parquet --meta-data trusted.parquet --student cnn", "your own images"),
        ("ray-mentor train --run-name mine --resume", "go on where it stopped"),
    ),
    "ray-mentor tune SPACE": (
        ("ray-mentor tune smoke", "two trials, to see it work"),
        ("ray-mentor tune joint --trials 64", "all that the mentor is and does"),
        ("ray-mentor tune joint --data table.parquet --meta-data trusted.parquet", "on your own data"),
    ),
    "ray-mentor compare": (
        ("ray-mentor compare", "plain training, self-paced, a robust loss, MixUp and the mentor, on digits"),
        (
            "ray-mentor compare --methods gce,mentornet --data table.parquet --meta-data trusted.parquet",
            "your own data",
        ),
        ("ray-mentor compare --methods mine=mine.toml,mentornet --seeds 5", "a method of your own"),
    ),
}


def daily_help(prog: str, says: str, daily: Mapping[str, str], defaults: Mapping[str, Any]) -> str:
    """The options of every day, and three examples.

    Args:
        prog: the command.
        says: what it does.
        daily: setting to what it means.
        defaults: every setting to its value where nothing is given.
    """
    width = max(len(flag(name)) for name in daily)
    options = [f"  {flag(name):{width}}  {text}{_default(defaults[name])}" for name, text in daily.items()]
    examples = [line for command, text in _EXAMPLES[prog] for line in (f"  {command}", f"      {text}")]
    rest = (
        f"{prog} --help-all says more, and lists all {len(defaults)} options. Any of them may also stand in a file of "
        "TOML or YAML, --config FILE; the command line wins over it. -v or --verbose shows Ray's own log."
    )
    head = [f"usage: {prog} [OPTIONS]", "", textwrap.fill(says, _WIDTH), "", "examples:", *examples]
    return "\n".join(
        [*head, "", "options of every day (and their defaults):", *options, "", textwrap.fill(rest, _WIDTH)]
    )


def _default(value: Any) -> str:
    return "" if value is None or value is False or value == () else f" ({value})"


def full_help(prog: str, says: str, groups: Sequence[type], defaults: Mapping[str, Any]) -> str:
    """Every option with all that there is to say of it.

    Args:
        prog: the command.
        says: what it does.
        groups: of settings.
        defaults: every setting to its value where nothing is given.
    """
    lines = [f"usage: {prog} [OPTIONS]", "", textwrap.fill(says, _WIDTH)]
    for group in groups:
        lines += ["", f"{str(group.__doc__).splitlines()[0]}", ""]
        for name, kind, text in described(group):
            whole = f"{text} (default: {_written(defaults[name])})"
            lines += [f"  {_usage(name, kind)}", textwrap.indent(textwrap.fill(whole, _WIDTH - 6), " " * 6)]
    more = (
        "Besides: --config FILE, a file of TOML or YAML with the same names, over which the command line wins; "
        "-v or --verbose shows Ray's own log; --help: the options of every day."
    )
    return "\n".join([*lines, "", textwrap.fill(more, _WIDTH)])


def flag(name: str) -> str:
    """A setting's name on the command line."""
    return f"--{name.replace('_', '-')}"


def _usage(name: str, kind: str) -> str:
    """A setting's option, with what it takes."""
    if kind == "bool":
        return f"{flag(name)}, --no-{name.replace('_', '-')}"
    if kind.startswith("Literal["):
        choices = ",".join(re.findall("[a-z_-]+", kind.partition("[")[2].partition("]")[0]))
        return f"{flag(name)} {{{choices}}}"
    if kind == "int | Literal['auto']":
        return f"{flag(name)} {{INTEGER,auto}}"
    inner = kind.removeprefix("tuple[").partition(",")[0].partition(" ")[0]
    return f"{flag(name)} {_TAKES[inner]}{' ...' if kind.startswith('tuple[') else ''}"


_TAKES = {"str": "TEXT", "int": "INTEGER", "float": "NUMBER"}


def _written(value: Any) -> str:
    """A default as one would type it."""
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return "none" if value in ("", None) else "off" if value is False else "on" if value is True else str(value)


_WIDTH = 100  # characters of a line


def check_options(words: Sequence[str], known: Sequence[str], prog: str, *, settings: bool = True) -> None:
    """Raises a UserError that names the nearest options if a word is an option that there isn't.

    Args:
        words: of the command line.
        known: every setting.
        prog: the command.
        settings: whether these are a training's, which may stand in a file, and be said no to.
    """
    names = [name.replace("_", "-") for name in known]
    besides = {*(f"no-{name}" for name in names), "config", "verbose", "help-all"} if settings else set()
    flags, help_of = {*names, *besides, "help"}, "--help-all" if settings else "--help"
    for word in words:
        option = word.partition("=")[0]
        plain = option.replace("_", "-").removeprefix("--")
        if option.startswith("--") and plain not in flags | {""}:
            meant = MEANT.get(plain.replace("-", "_"))
            meant = meant if meant in known else None
            near = [meant.replace("_", "-")] if meant else difflib.get_close_matches(plain, flags, n=1, cutoff=_ALIKE)
            near = near or [name for name in names if plain and name.startswith(f"{plain}-")][:1]
            hint = f"did you mean --{near[0]}?" if near else f"{prog} {help_of} lists those there are"
            raise UserError(f"unknown option {option if len(option) < _LONG else shown(option)}: {hint}")


@contextlib.contextmanager
def in_one_line(prog: str) -> Iterator[None]:
    """Makes a UserError of a mistake that tyro draws a box of.

    Args:
        prog: the command.
    """
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            yield
    except SystemExit as left:
        why: BaseException | None = left
        while why is not None:
            if isinstance(why, UserError):
                raise why from None
            why = why.__context__
        raise UserError(f"{_said_in(box.getvalue())}; {prog} --help-all lists what it takes") from left


def _said_in(box: str) -> str:
    """The first sentences of it; where there are no such characters its title stands above a line."""
    parts = _RULER.split(box)
    lines = (line.strip("│ ") for line in parts["╭" not in box and len(parts) > 1].splitlines() if line[:1] != "╭")
    return " ".join(filter(None, lines)).rstrip(".")


_RULER = re.compile(r"^[ │]*[─-]+[ │]*$", re.MULTILINE)
_ALIKE = 0.75  # of 1: wings and mixing have 0.73, trails and trials 0.83
_LONG = 60  # characters of an option that is shown as it is
