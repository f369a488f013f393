"""Options that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from typing_extensions import override

from ray_mentor.errors import UserError
from ray_mentor.help import check_options


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a command in one line, as the commands that train do."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def asked(self, words: Sequence[str]) -> argparse.Namespace:
        """The options that were given.

        Raises:
            UserError: one that there isn't, naming the nearest; or a value that can't be.
        """
        known = [name.removeprefix("--") for action in self._actions for name in action.option_strings]
        check_options(words, known, self.prog, settings=False)
        return self.parse_args(words)

    def asked_beside(self, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """The options that were given, and what is left for another parser.

        Raises:
            UserError: a value that can't be.
        """
        return self.parse_known_args(words)

    @override
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {self.prog} --help lists what it takes")


def add_run(parser: argparse.ArgumentParser) -> None:
    """The run that a command is about."""
    parser.add_argument("run", metavar="RUN", help="the run's folder, e.g. runs/first")


def add_arguments(parser: argparse.ArgumentParser, data: str) -> None:
    """The options that both have.

    Args:
        data: what --data is.
    """
    add_run(parser)
    parser.add_argument("--data", metavar="DATA", required=True, help=data)
    parser.add_argument("--batch-size", type=int, default=256, help="samples through the student at a time (256)")
    workers = "that predict, by Ray Data; 0: this process; auto (default): one a CPU of a cluster, or a GPU of several"
    parser.add_argument("--workers", metavar="N", default="auto", help=workers)
    parser.add_argument("--gpu", action="store_true", help="predict on GPUs, one a worker")
    parser.add_argument("--student", metavar="NAME", help="what builds the student, where that is code of your own")
    add_which(parser)
    parser.add_argument(
        "--format", metavar="KIND", help="of the data, where what is there leaves it open, as in training"
    )
    parser.add_argument(
        "--skip-broken", action="store_true", help="leave out images that can't be decoded and empty texts, and say so"
    )
    for name, what in (("image", "encoded images"), ("text", "texts"), ("id", "sample ids")):
        parser.add_argument(f"--{name}-column", metavar="NAME", help=f"the column of {what}, where training's differs")


def add_which(parser: argparse.ArgumentParser) -> None:
    """Which of a run's students."""
    says = "the student that is kept (default), the last epoch's, or their average, where the run kept one"
    parser.add_argument("--which", choices=("kept", "last", "average"), default="kept", help=says)
