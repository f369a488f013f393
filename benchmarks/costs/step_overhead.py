"""What a curriculum adds to a step: milliseconds, operators, copies, and how often the host waits for the device.

    python benchmarks/costs/step_overhead.py                  # the tiny student, as in the tests
    python benchmarks/costs/step_overhead.py --student resnet32 --optimizer adamw --batch 8

Operators are counted below autograd, without views and what only asks for a shape; a foreach operator counts once, as
the few launches that it is on an accelerator. Where the losses lie on the host, NumPy does a part of the bookkeeping,
uncounted, and numbers are read at once: what an accelerator is asked for instead is counted, on a stand-in, by
tests/core/step/test_reads_of_a_step.py. A wait is `_local_scalar_dense`, or a copy from the device to the host
(on a CPU, where no copy waits: each `_to_copy`). Milliseconds are medians of CPU time, pairs of plain and other steps
in turn; the last column is what lies beyond a plain step, in plain steps, which other work on the machine hardly moves.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ray_mentor import CurriculumConfig, LearnedCurriculum, MentorConfig
from ray_mentor.students import make_student

FREE = (
    "detach", "view", "_unsafe_view", "reshape", "alias", "expand", "select", "slice", "unsqueeze", "squeeze",
    "transpose", "permute", "t", "as_strided", "unbind", "split", "split_with_sizes", "is_same_size", "lift_fresh",
    "promote_types", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_fw_primal",
    "_make_dual",
    "_unpack_dual", "diagonal", "_has_same_storage_numel", "_reshape_alias", "resolve_conj", "conj", "_conj",
)  # fmt: skip
"""Of no work on a device."""


class Counting(TorchDispatchMode):
    """Counts operators by name."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name not in FREE:
            self.by_name[name] += 1
        return func(*args, **(kwargs or {}))

    @property
    def figures(self) -> tuple[int, int, int]:
        """Operators, copies, waits."""
        return self.by_name.total(), self.by_name["_to_copy"], self.by_name["_local_scalar_dense"]


def counted(step: Callable[[], None]) -> Counting:
    """One step's operators."""
    with Counting() as found:
        step()
    return found


Step = Callable[[], None]


def steps(student_name: str, optimizer_name: str, batch: int, weighting: str) -> tuple[Step, LearnedCurriculum | None]:
    """A step of a plain loop, or of one with a curriculum, whose mentor never learns, or learns in every step."""
    torch.manual_seed(0)
    shape = (64,) if student_name == "mlp" else (3, 32, 32)
    student = nn.Linear(64, 10) if student_name == "linear" else make_student(student_name, shape, 10)
    shape = (64,) if student_name == "linear" else shape
    made = {"sgd": lambda p: torch.optim.SGD(p, 0.01, 0.9, nesterov=True, foreach=True),
            "adamw": lambda p: torch.optim.AdamW(p, 1e-3, foreach=True)}  # fmt: skip
    optimizer = made[optimizer_name](student.parameters())
    inputs, labels = torch.randn(batch, *shape), torch.arange(batch) % 10
    meta = torch.randn(100, *shape), torch.arange(100) % 10
    curriculum = None
    if weighting != "plain":
        schedule = CurriculumConfig(method="uniform" if weighting == "uniform" else "mentornet", burn_in=0.0)
        interval = 1 if weighting == "meta step" else 10**6
        curriculum = LearnedCurriculum(student, optimizer, meta, total_steps=10**7, n_classes=10, curriculum=schedule,
                                       mentor=MentorConfig(update_interval=interval))  # fmt: skip
        curriculum.curriculum.step_number = (
            1  # at step 0 an update is due, and one of so long an interval is a large one
        )

    def plain() -> None:
        losses = F.cross_entropy(student(inputs), labels, reduction="none")
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()

    def weighed() -> None:
        assert curriculum is not None
        outputs: Tensor = student(inputs)
        losses = F.cross_entropy(outputs, labels, reduction="none")
        loss = curriculum.weigh(losses, labels=labels, outputs=outputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curriculum.after_step()

    return (plain if curriculum is None else weighed), curriculum


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", choices=("linear", "mlp", "cnn", "resnet32"), default="linear")
    parser.add_argument("--optimizer", choices=("sgd", "adamw"), default="sgd")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=100, help="of timed steps (default 100)")
    parser.add_argument("--most", type=int, default=0, help="print so many operators that a meta step runs most")
    options = parser.parse_args()
    torch.set_num_threads(1)
    made_with = options.student, options.optimizer, options.batch
    plain, _ = steps(*made_with, "plain")
    print(f"{options.student}, {options.optimizer}, batch {options.batch}")
    print(f"{'':12}{'operators':>10}{'copies':>8}{'waits':>7}{'ms':>9}{'beyond plain':>14}{'in plain steps':>16}")
    for name in ("plain", "uniform", "mentor", "meta step"):
        step, _ = steps(*made_with, name)
        for _ in range(3):
            plain(), step()
        found = counted(step)
        times = [(_seconds(plain), _seconds(step)) for _ in range(options.pairs)]
        own = statistics.median(taken for _, taken in times)
        beyond = statistics.median(taken - base for base, taken in times)
        share = beyond / statistics.median(base for base, _ in times)
        operators, copies, waits = found.figures
        print(f"{name:12}{operators:10}{copies:8}{waits:7}{1e3 * own:9.3f}{1e3 * beyond:14.3f}{share:16.2f}")
        if name == "meta step" and options.most:
            print(*(f"  {count:5} {operator}" for operator, count in found.by_name.most_common(options.most)), sep="\n")


def _seconds(step: Step) -> float:
    began = time.process_time()
    step()
    return time.process_time() - began


if __name__ == "__main__":
    main()
