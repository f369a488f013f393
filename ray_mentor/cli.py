"""The command line: parses, calls one function, prints."""

from __future__ import annotations

import time

BEGAN = time.time()

import functools  # noqa: E402 - the clock of a whole command starts before its imports
import importlib  # noqa: E402
import os  # noqa: E402
import shlex  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from typing import TYPE_CHECKING, TypeVar  # noqa: E402

from ray_mentor import __version__  # noqa: E402
from ray_mentor.errors import StoppedByUser, UserError, printable, shown  # noqa: E402
from ray_mentor.extras import needing  # noqa: E402
from ray_mentor.platforms import file_locks  # noqa: E402
from ray_mentor.wording import counted, in_options  # noqa: E402

if TYPE_CHECKING:
    from ray_mentor.config import TrainConfig
    from ray_mentor.config.compare import CompareConfig
    from ray_mentor.config.sweep import SweepConfig

Config = TypeVar("Config", "TrainConfig", "SweepConfig", "CompareConfig")

DONE, OURS, YOURS, STOPPED = 0, 1, 2, 130
"""Exit codes: done, our mistake, the user's mistake, Ctrl-C."""

_HELP = """usage: ray-mentor COMMAND [OPTIONS]

Trains a student on labels that can't all be trusted; a mentor weighs each sample.

commands:
  train          train a student: by default on 8x8 images of digits, 40 % of whose labels are wrong
  tune SPACE     search settings of the mentor; SPACE is joint, mentor_architecture, update_frequency, curriculum,
                 smoke, module:function or a path to a file of your own
  compare        train several methods side by side, with the same means, and say which to take
  predict RUN    say what a run's student makes of new data: a class and a probability a row, into a file
  evaluate RUN   say how often it is right on data with labels, and whether it knows how sure it can be
  export RUN     write it as a program of torch.export, or in ONNX, with its normalisation inside
  report RUN     write a page of a run: how it went, what its mentor did, which labels look wrong
  audit RUN      say which labels of a run look wrong, and how many; RUN is its folder
  pick DATA      draw samples of data, or of a run, to be checked by hand, and say how to train with them
  distill RUN    make a rule of what a run's mentor said: a table in a file, which costs nothing to weigh by
  teach RUN      make a mentor of a run that knew which labels were right, for runs that do not

ray-mentor COMMAND --help lists the options of train, tune and compare; ray-mentor --version says which this is."""


@in_options()
def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_HELP)
        return DONE if words else YOURS
    if words[0] == "--version":
        print(f"ray-mentor {__version__}")
        return DONE
    commands: dict[str, Callable[[list[str]], None]] = {
        "train": _train,
        "tune": _tune,
        "compare": _compare,
        "pick": _pick,
        **{
            name: functools.partial(_of_a_run, name)
            for name in ("predict", "evaluate", "export", "report", "audit", "distill", "teach")
        },
    }
    if words[0] not in commands:
        print(f"error: unknown command {shown(words[0])}; valid: {', '.join(commands)}", file=sys.stderr)
        return YOURS
    try:
        commands[words[0]](words[1:])
    except UserError as error:
        for line in (f"error: {error}", *getattr(error, "__notes__", ())):
            print(printable(line), file=sys.stderr)
        return YOURS
    except BrokenPipeError:  # whoever read the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt as stop:
        print(printable(_stopped(stop, words)), file=sys.stderr)
        return STOPPED
    except Exception:
        traceback.print_exc()
        print("error: this is a mistake of ray_mentor's, not of yours; the run directory is kept", file=sys.stderr)
        return OURS
    return DONE


def _stopped(stop: KeyboardInterrupt, words: list[str]) -> str:
    """What was saved, and the whole command that goes on."""
    if not isinstance(stop, StoppedByUser):
        return "stopped; nothing was written yet, so the same command starts again"
    given = {word.partition("=")[0].replace("_", "-") for word in words}
    more = [] if "--run-name" in given else ["--run-name", stop.run_name]
    more += [] if given & {"--resume", "--resume-or-start"} else ["--resume"]
    program = ["ray-mentor"] if os.path.basename(sys.argv[0]) != "__main__.py" else [sys.executable, "-m", "ray_mentor"]
    return f"stopped; {stop.saved}\nto go on:\n  {shlex.join([*program, *words, *more])}"


def _train(words: list[str]) -> None:
    from ray_mentor.config import GROUPS, TrainConfig  # noqa: PLC0415 - not before the command is known
    from ray_mentor.help import TRAIN, daily_help, full_help  # noqa: PLC0415

    prog, says = "ray-mentor train", "Trains a student on weighted samples; a mentor that learns weighs them."
    if _asked(words, "-h", "--help"):
        print(daily_help(prog, says, TRAIN, TrainConfig().flat()))
    elif _asked(words, "--help-all"):
        print(full_help(prog, says, GROUPS, TrainConfig().flat()))
    else:
        with needing("ray", prog):
            config, verbose = _parsed(words, TrainConfig, prog)
            epochs = counted(config.run.epochs, "epoch")
            _greet(config, "run", f"{config.curriculum.method} on {config.data.data}, {epochs}")
            from ray_mentor.training import train  # noqa: PLC0415 - PyTorch and Ray, which --help need not wait for

        train(config, verbose=verbose, began=BEGAN)


def _tune(words: list[str]) -> None:
    from ray_mentor.config import GROUPS  # noqa: PLC0415
    from ray_mentor.config.sweep import SweepConfig, SweepSettings  # noqa: PLC0415
    from ray_mentor.help import TUNE, daily_help, full_help  # noqa: PLC0415

    prog = "ray-mentor tune SPACE"
    says = (
        "Searches settings of the mentor with Ray Tune. SPACE: joint, mentor_architecture, update_frequency, "
        "curriculum, smoke, module:function, or a path to a file of your own. The options of train are what is trained "
        "around the searched settings; --run-name names the sweep, --resume goes on with it."
    )
    if _asked(words, "-h", "--help"):
        print(daily_help(prog, says, TUNE, SweepConfig().flat()))
    elif _asked(words, "--help-all"):
        print(full_help(prog, says, (SweepSettings, *GROUPS), SweepConfig().flat()))
    else:
        space, words = _space(words)
        with needing("tune", "ray-mentor tune"):
            config, verbose = _parsed(words, SweepConfig, prog)
            _greet(config.train, "sweep", f"searching {space}")
            from ray_mentor.sweep import tune_curriculum  # noqa: PLC0415

        tune_curriculum(space, config.train, config.sweep, verbose=verbose)


def _compare(words: list[str]) -> None:
    from ray_mentor.config import GROUPS  # noqa: PLC0415
    from ray_mentor.config.compare import CompareConfig, CompareSettings  # noqa: PLC0415
    from ray_mentor.help import COMPARE, daily_help, full_help  # noqa: PLC0415

    prog = "ray-mentor compare"
    says = (
        "Trains methods side by side, each on the same seeds, with the same splits, schedule and trusted samples, and "
        "says which to take. The options of train are what all runs share; --run-name names the comparison, --resume "
        "goes on with it."
    )
    if _asked(words, "-h", "--help"):
        print(daily_help(prog, says, COMPARE, CompareConfig().flat()))
    elif _asked(words, "--help-all"):
        print(full_help(prog, says, (CompareSettings, *GROUPS), CompareConfig().flat()))
    else:
        with needing("tune", prog):
            config, verbose = _parsed(words, CompareConfig, prog)
            _greet(config.train, "comparison", f"comparing methods on {config.train.data.data}")
            from ray_mentor.comparison.compare import compare  # noqa: PLC0415

        compare((), config.train, config.compare, verbose=verbose)


def _asked(words: Sequence[str], *for_what: str) -> bool:
    return bool(set(words) & set(for_what))


def _greet(config: TrainConfig, kind: str, what: str) -> None:
    """What comes next takes seconds, and whoever has pressed Enter shall see that something goes on.

    Raises:
        UserError: what can be refused before PyTorch and Ray are loaded.
    """
    from ray_mentor.config.groups.data import check_there  # noqa: PLC0415

    file_locks()
    check_there(config.data.data)
    run = config.run
    if run.run_name is not None and "://" not in run.storage_path and not run.resume_or_start:
        from ray_mentor.run.directory import RunDirectory, absolute, check_free  # noqa: PLC0415

        directory = RunDirectory.within(absolute(run.storage_path), run.run_name)
        check_free(directory, kind, resume=run.resume)
    print(printable(f"{what}: loading PyTorch and Ray, some seconds ..."), flush=True)


def _pick(words: list[str]) -> None:
    from ray_mentor.config import TrainConfig  # noqa: PLC0415

    pick = importlib.import_module("ray_mentor.commands.pick")
    pick.run(words, lambda options: _parsed(options, TrainConfig, "ray-mentor train")[0])


def _of_a_run(name: str, words: list[str]) -> None:
    """A command that has a file of its own, and needs a run's folder."""
    importlib.import_module(f"ray_mentor.commands.{name}").run(words)


def _space(words: list[str]) -> tuple[str, list[str]]:
    if words and not words[0].startswith("-"):
        return words[0], words[1:]
    raise UserError("tune needs what it shall search as its first word, e.g. ray-mentor tune joint; see --help")


def _parsed(words: list[str], kind: type[Config], prog: str) -> tuple[Config, bool]:
    """The command's settings: defaults, under those of a file, under those of the command line; and --verbose."""
    import tyro  # noqa: PLC0415

    from ray_mentor.commands.arguments import Parser  # noqa: PLC0415
    from ray_mentor.config.file import read_config  # noqa: PLC0415
    from ray_mentor.config.values import check_possible  # noqa: PLC0415
    from ray_mentor.help import check_options, in_one_line  # noqa: PLC0415

    for word in words:
        check_possible("a word of the command", word)
    check_options(words, list(kind().flat()), prog)
    for option in ("--data", "--meta-data"):
        words = _once(option, words)
    first = Parser(prog, "")
    first.add_argument("--config")
    first.add_argument("--student")  # which decides about other settings' defaults
    first.add_argument("-v", "--verbose", action="store_true")
    early, rest = first.asked_beside(words)
    named = {} if early.student is None else {"student": early.student}
    default = kind.from_flat((read_config(early.config) if early.config else {}) | named)
    plain = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)
    with in_one_line(prog):
        config = tyro.cli(kind, prog=prog, args=rest, default=default, config=plain)
    return config, early.verbose


def _once(option: str, words: list[str]) -> list[str]:
    """``--data a=x --data b=y`` as one option, ``--data a=x,b=y``.

    Raises:
        UserError: several of which one has no name.
    """
    from ray_mentor.config.groups.data import joined_sources  # noqa: PLC0415

    values, rest, left = [], [], iter(words)
    for word in left:
        name, sign, value = word.partition("=")
        if name != option:
            rest.append(word)
        elif sign or (value := next(left, "")):
            values.append(value)
    return words if len(values) < 2 else [*rest, f"{option}={joined_sources(values, option)}"]


if __name__ == "__main__":
    sys.exit(main())
