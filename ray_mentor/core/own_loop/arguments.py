"""What a curriculum for a training loop of one's own is made with: read, and refused where it would train wrongly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.epoch import AtEpoch
from ray_mentor.core.exchange import AbstractExchange, Alone, Ranks
from ray_mentor.core.losses import CROSS_ENTROPY, TargetLoss, make_loss
from ray_mentor.core.methods.table import method_of
from ray_mentor.core.schema import whole_number
from ray_mentor.core.student.accelerators import check_device
from ray_mentor.errors import UserError, shown


def ranks_of(student: nn.Module) -> AbstractExchange:
    """All ranks if the student is wrapped for data parallelism, else this process alone.

    Raises:
        UserError: a student that is not, in one of several processes.
    """
    if _is_data_parallel(student):
        return Ranks()
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        raise UserError(
            f"student is not wrapped for data parallelism, but there are {dist.get_world_size()} processes; give the "
            "DistributedDataParallel that the loop calls, or exchange=Alone() if each process trains its own student"
        )
    return Alone()


def _is_data_parallel(student: nn.Module) -> bool:
    inner = getattr(student, "_orig_mod", student)
    return isinstance(inner, nn.parallel.DistributedDataParallel)


def all_of(optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer]) -> tuple[torch.optim.Optimizer, ...]:
    """The optimizers, whether one was given or a list.

    Raises:
        UserError: none, or something else among them.
    """
    given = tuple(optimizer) if isinstance(optimizer, Iterable) else (optimizer,)
    if not given:
        raise UserError("there is no optimizer in the list that the curriculum was given; give it those of the student")
    for one in given:
        if not isinstance(one, torch.optim.Optimizer):
            raise UserError(
                f"optimizer holds a {type(one).__name__}, but it must be a torch.optim.Optimizer, or a list of them"
            )
    return given


def check_arguments(
    student: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    total_steps: int,
    mentor: MentorConfig,
    curriculum: CurriculumConfig,
    n_classes: int | None,
    n_samples: int,
) -> None:
    """Refuses what would train wrongly.

    Raises:
        UserError: naming the argument, the rule and the fix.
    """
    if not isinstance(student, nn.Module):
        raise UserError(
            f"student is a {type(student).__name__}, but it must be the module that the loop calls and trains"
        )
    for device in {param.device for param in student.parameters()}:
        check_device(device)
    own = {id(param) for param in student.parameters()}
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    if not any(id(param) in own for group in groups for param in group["params"]):
        raise UserError("optimizer holds none of the student's params; make it from student.parameters()")
    if total_steps < 1:
        raise UserError(f"total_steps is {total_steps}, but it must be at least 1; it is what progress is measured by")
    if mentor.history_length and n_samples < 1:
        raise UserError(f"n_samples is {n_samples}, but a loss history needs the size of the training split")
    if mentor.sees_label and n_classes is None:
        raise UserError("n_classes is None, but the mentor sees the label; give the number of classes")
    if curriculum.mixing not in (None, "none"):
        raise UserError(f"mixing is {curriculum.mixing!r}, but in a loop of one's own the batch is mixed by the loop")
    if curriculum.loss not in (None, CROSS_ENTROPY):
        named = make_loss(str(curriculum.loss))
        if isinstance(named, TargetLoss):
            raise UserError(
                f"loss is {curriculum.loss!r}, which remembers a target of each sample; only the trainer can do that"
            )
        if isinstance(named, AtEpoch):
            raise UserError(
                f"loss is {curriculum.loss!r}, which changes when an epoch has ended; only the trainer can do that"
            )
        raise UserError(
            f"loss of the curriculum is {curriculum.loss!r}, but in a loop of one's own the loop computes the loss; "
            f"compute make_loss({curriculum.loss!r})(logits, labels), and give that loss to the curriculum"
        )
    if mentor.meta_loss in ("balanced", "worst-class"):
        raise UserError(
            f"meta_loss is {mentor.meta_loss!r}, which goes by the classes of the meta set; only the trainer knows them"
        )
    if curriculum.method == "l2rw":
        raise UserError(
            "method is 'l2rw', which looks at a batch before the student is trained on it; only the trainer can do that"
        )
    if curriculum.method == "mentornet-dd":
        raise UserError(
            "method is 'mentornet-dd', whose mentor is taught when an epoch has ended; only the trainer can do that"
        )
    if method_of(curriculum.method).students > 1:
        raise UserError(
            f"method is {curriculum.method!r}, which trains a second student beside yours; only the trainer builds one"
        )
    if curriculum.meta_from != "trusted":
        raise UserError(
            f"meta_from is {curriculum.meta_from!r}, but a loop of one's own gives the meta set itself; leave it out"
        )
    if curriculum.gradient_rule != "none":
        raise UserError(
            f"gradient_rule is {curriculum.gradient_rule!r}, which changes gradients; only the trainer can do that"
        )


def check_group_sizes(curriculum: CurriculumConfig, sizes: Mapping[str, int] | None) -> None:
    """Refuses sizes of groups where nothing goes by groups, none where something does, and such as are none.

    Raises:
        UserError: naming the argument, the rule and the fix.
    """
    if method_of(curriculum.method).needs_groups != (sizes is not None):
        raise UserError(
            f"method is {curriculum.method!r}, and group_sizes was {'not ' if sizes is None else ''}given; give the "
            "training samples of each group, by name, to group-dro, and to nothing else"
        )
    if sizes is not None and not (all(map(whole_number(0).holds, sizes.values())) and any(sizes.values())):
        raise UserError(
            f"group_sizes is {shown(dict(sizes))}, but it must hold a number of training samples by name, and one "
            "above 0"
        )


def check_groups(groups: Tensor | None, count: int, sizes: Sequence[int] | None) -> None:
    """Refuses what are no groups of so many samples.

    Args:
        sizes: training samples of each group; None: nothing goes by groups.

    Raises:
        UserError: naming the argument, the rule and the fix.
    """
    if (groups is None) != (sizes is None):
        says = "was given, but weigh got no groups" if groups is None else "was not given, but weigh got groups"
        raise UserError(f"group_sizes {says}; give both to group-dro, and neither to another method")
    if groups is None or sizes is None:
        return
    if groups.shape != (count,) or groups.is_floating_point() or groups.dtype == torch.bool:
        raise UserError(
            f"groups is {groups.dtype} of shape {tuple(groups.shape)}, but it must hold the number of a group for each "
            f"of the {count} samples"
        )
    there = torch.tensor(sizes, device=groups.device) > 0
    if count and not (int(groups.min()) >= 0 and int(groups.max()) < len(sizes) and bool(there[groups].all())):
        raise UserError(
            f"groups run from {int(groups.min())} to {int(groups.max())}, but they are places in group_sizes, whose "
            f"sizes are {shown(list(sizes))}, of those that have samples"
        )


def check_whole(name: str, value: Any, least: int) -> None:
    """Raises a UserError if it is no whole number from ``least`` on."""
    if not whole_number(least).holds(value):
        raise UserError(f"{name} is {shown(value)}, but it must be a whole number from {least} on")
