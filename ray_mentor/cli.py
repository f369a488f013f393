"""The command line: parses, calls one function, prints."""

from __future__ import annotations

import time

BEGAN = time.time()

import argparse  # noqa: E402 - the clock of a whole command starts before its imports
import os  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Sequence  # noqa: E402

from ray_mentor.errors import UserError, printable, shown  # noqa: E402

DONE, OURS, YOURS = 0, 1, 2
"""Exit codes: done, our mistake, the user's mistake."""

_HELP = """usage: ray-mentor COMMAND [OPTIONS]

Trains a student on labels that can't all be trusted; a mentor weighs each sample.

commands:
  train    train a student: by default on 8x8 images of digits, 40 % of whose labels are wrong

ray-mentor train --help lists the options."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_HELP)
        return DONE if words else YOURS
    if words[0] != "train":
        print(f"error: unknown command {shown(words[0])}; valid: train", file=sys.stderr)
        return YOURS
    try:
        _train(words[1:])
    except UserError as error:
        for line in (f"error: {error}", *getattr(error, "__notes__", ())):
            print(printable(line), file=sys.stderr)
        return YOURS
    except BrokenPipeError:  # whoever read the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        print(
            "stopped; a run with a checkpoint goes on: --run-name NAME (printed above) --resume",
            file=sys.stderr,
        )
        return OURS
    except Exception:
        traceback.print_exc()
        print("error: this is a mistake of ray_mentor's, not of yours; the run directory is kept", file=sys.stderr)
        return OURS
    return DONE


def _train(words: list[str]) -> None:
    import tyro  # noqa: PLC0415 - not before the command is known

    from ray_mentor.config import TrainConfig  # noqa: PLC0415
    from ray_mentor.config_file import read_config  # noqa: PLC0415
    from ray_mentor.config_values import check_possible  # noqa: PLC0415

    for word in words:
        check_possible("a word of the command", word)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config")
    first.add_argument("-v", "--verbose", action="store_true")
    early, rest = first.parse_known_args(words)
    default = TrainConfig.from_flat(read_config(early.config) if early.config else {})
    config = tyro.cli(
        TrainConfig,
        prog="ray-mentor train",
        description="Trains a student on weighted samples. Also: --config FILE (TOML or YAML with the same names; "
        "the command line wins over it), -v or --verbose (Ray's own log).",
        args=rest,
        default=default,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
    )
    from ray_mentor.run import train  # noqa: PLC0415 - loads PyTorch and Ray, which --help need not wait for

    train(config, verbose=early.verbose, began=BEGAN)


if __name__ == "__main__":
    sys.exit(main())
