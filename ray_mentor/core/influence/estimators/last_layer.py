"""The influences that pass through the student's last layer, in closed form."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ray_mentor.core.batch import MetaBatch
from ray_mentor.core.influence.estimators.base import AbstractEstimator
from ray_mentor.core.influence.heard import Heard, require_returned
from ray_mentor.core.influence.taken_step import TakenStep
from ray_mentor.core.losses import losses_of
from ray_mentor.core.step.gradient_rules.base import Gradient
from ray_mentor.core.student.copies import named_copies
from ray_mentor.core.student.random_state import untouched
from ray_mentor.core.student.stateless import called_with
from ray_mentor.errors import UserError


class LastLayer(AbstractEstimator):
    """s_i = δ_iᵀ(V h_i + v), δ_i = ∂ℓ_i/∂z_i, for students that return z = W h + b of their last nn.Linear.

    V and v are the directions of W and b. Nearly free: h and z are taken from the training forward pass, and the meta
    gradient goes back through the last layer alone.

    Exact where W and b are all that is trained. Otherwise a part of the influence: left out is how sample and meta set
    meet in the gradients of all layers below, Σ_l ⟨D_l ∇_l M, ∇_l ℓ_i⟩ over l < last; samples whose gradients differ
    in the features alone look alike. (FaMUS, Xu et al. 2021, leaves layers out in the same spirit.)
    """

    def check(self, student: nn.Module, optimizers: Sequence[torch.optim.Optimizer], world_size: int) -> None:
        super().check(student, optimizers, world_size)
        head = head_of(student)
        if not any(head.weight is param for param in student.parameters()):
            raise UserError(
                "estimator is 'last_layer', but the weight of the student's last nn.Linear is no param: it is made of "
                "others, as by weight_norm; give another estimator: --estimator jvp"
            )
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        stepped = {id(param) for group in groups for param in group["params"]}
        if not any(id(param) in stepped and param.requires_grad for param in head.parameters()):
            raise UserError(
                "estimator is 'last_layer', but the optimizer holds no param of the student's last nn.Linear; train "
                "it, or give another estimator: --estimator jvp"
            )

    def names(self, student: nn.Module) -> Collection[str]:
        own = {id(param) for param in head_of(student).parameters()}
        return [name for name, param in student.named_parameters() if id(param) in own]

    def listen(self, student: nn.Module) -> Heard:
        return Heard(student, head_of(student))

    @torch.no_grad()
    def __call__(
        self, steps: Sequence[TakenStep], meta: MetaBatch, direction: Gradient, chosen: Int[Tensor, " chosen"]
    ) -> Float[Tensor, " chosen"]:
        (step,) = steps
        heard = step.before.heard
        if heard is None or heard.inputs is None or heard.outputs is None or len(heard.outputs) != len(step.batch):
            heard = _replayed(step)
        assert heard.inputs is not None
        assert heard.outputs is not None
        if len(heard.outputs) != len(step.batch):
            raise UserError(
                f"estimator is 'last_layer', but the student returns {len(heard.outputs)} rows for "
                f"{len(step.batch)} samples; give another estimator: --estimator jvp"
            )
        inputs, outputs = heard.inputs[chosen], heard.outputs[chosen]
        names = {id(param): name for name, param in step.student.named_parameters()}
        head = head_of(step.student)
        weight = direction.get(names[id(head.weight)], torch.zeros_like(head.weight))
        bias = None if head.bias is None else direction.get(names[id(head.bias)])
        moved = nn.functional.linear(inputs.to(weight.dtype), weight, bias)
        return (_slopes(step, outputs.to(weight.dtype), chosen) * moved).flatten(1).sum(1)


def head_of(student: nn.Module) -> nn.Linear:
    """The student's last nn.Linear, in the order in which its layers were made.

    Raises:
        UserError: if it has none.
    """
    layers = [module for module in student.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise UserError(
            "estimator is 'last_layer', but the student has no nn.Linear; give another estimator: --estimator jvp"
        )
    return layers[-1]


def _slopes(step: TakenStep, outputs: Tensor, chosen: Tensor) -> Tensor:
    """δ_i = ∂ℓ_i/∂z_i."""
    with torch.enable_grad(), untouched(outputs.device), step.before.precision.again():
        leaf = outputs.detach().requires_grad_()
        total = losses_of(leaf, step.loss, step.batch[chosen]).sum()
    return torch.autograd.grad(total, leaf)[0]


def _replayed(step: TakenStep) -> Heard:
    """What the head does in the training forward pass, repeated: a compiled student calls no hooks of its layers."""
    before, student = step.before, step.student
    heard = Heard(student, head_of(student))
    values = {**before.params, **named_copies(before.buffers)}
    with torch.enable_grad(), untouched(step.batch.labels.device), before.precision.again():
        before.random_state.put_back()
        returned = called_with(student, values, step.batch.inputs)
    heard.stop()
    if heard.outputs is not None:
        require_returned(returned, heard.outputs)
    return heard
