"""What each rank of a run over two processes does, and the same run in one process.

Both are the same code: the sizes of the ranks' shares decide which rows of the joined batch a process sees.
"""

from __future__ import annotations

import copy
import io
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from stand_ins import Mean, Spy
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.parallel import DistributedDataParallel

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.batch import Batch, MetaBatch
from ray_mentor.core.curriculum import Curriculum
from ray_mentor.core.exchange import _INSIDE, AbstractExchange, Alone, Ranks
from ray_mentor.core.losses import CROSS_ENTROPY, cross_entropy, make_loss
from ray_mentor.core.mentor.learner import MentorLearner
from ray_mentor.core.methods.mixing import NoMixing
from ray_mentor.core.methods.parts import Parts
from ray_mentor.core.methods.weightings import Learned
from ray_mentor.core.step.gradient_rules import GradientVaccine, Identity
from ray_mentor.core.student.sync_batch_norm import GlobalBatchNorm, synchronised
from ray_mentor.errors import NonFiniteLossError

STEPS = 6
SHARES, META_SHARES = (5, 3), (2, 5)
CLASSES = 3


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(50, 8), nn.Tanh(), nn.Linear(8, CLASSES))


def conv_batch_norm() -> nn.Module:
    return synchronised(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(36, CLASSES),
            nn.BatchNorm1d(CLASSES, affine=False),
        )
    )


SCENARIOS: dict[str, dict[str, Any]] = {
    "mlp": {"student": mlp},
    "mlp, divided by the batch size": {"student": mlp, "config": {"normalisation": "batch"}},
    "mlp, example dropout, history": {
        "student": mlp,
        "config": {"mentor_features": ("loss", "history", "label"), "history_length": 2},
        "curriculum": CurriculumConfig(example_dropout="0.3:1"),
    },
    "mlp, a mentor over the last losses": {"student": mlp, "config": {"mentor": "lstm", "history_length": 2}},
    "mlp, a mentor that knows how large classes are": {"student": mlp, "config": {"mentor": "cmw"}},
    "mlp, a loss that remembers": {"student": mlp, "loss": "elr"},
    "mlp, a loss that remembers, history": {
        "student": mlp,
        "loss": "elr",
        "config": {"mentor_features": ("loss", "history"), "history_length": 2},
    },
    "mlp, adam": {"student": mlp, "adam": True},
    "mlp, weights that count as collapsed": {"student": mlp, "config": {"min_effective_share": 0.998}},
    "mlp, a class that counts as shut out": {"student": mlp, "config": {"min_class_share": 0.99}},
    "mlp, a meta batch that is not finite": {"student": mlp, "bad": 1},
    "mlp, a rule that mixes in the meta gradient": {"student": mlp, "rule": Mean},
    "mlp, a rule with a memory": {"student": mlp, "rule": GradientVaccine},
    "synchronised batch norm": {"student": conv_batch_norm},
    "synchronised batch norm, a rule that mixes in the meta gradient": {"student": conv_batch_norm, "rule": Mean},
}


def joined(n: int, seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, 5, 5, generator=draw), torch.randint(CLASSES, (n,), generator=draw)


def own_rows(shares: tuple[int, ...], exchange: AbstractExchange) -> slice:
    if exchange.world_size == 1:
        return slice(0, sum(shares))
    start = sum(shares[: exchange.rank])
    return slice(start, start + shares[exchange.rank])


def batch_of(step: int, exchange: AbstractExchange) -> Batch:
    inputs, labels = joined(sum(SHARES), seed=step)
    own = own_rows(SHARES, exchange)
    rows = (torch.arange(sum(SHARES)) + 3 * step) % 20
    sizes = None if step % 2 else SHARES if exchange.world_size > 1 else (sum(SHARES),)  # asked for, or known
    return Batch(rows[own], 100 + rows[own], inputs[own], labels[own], rank_sizes=sizes)


def meta_of(update: int, exchange: AbstractExchange, bad: int | None) -> MetaBatch:
    """Of update ``bad``, the last rank has an input that is not finite."""
    inputs, labels = joined(sum(META_SHARES), seed=1000 + update)
    if update == bad:
        inputs[-1] = torch.inf
    own = own_rows(META_SHARES, exchange)
    return MetaBatch(inputs[own], labels[own], sum(META_SHARES))


def make_learner(config: MentorConfig) -> MentorLearner:
    """A mentor that no longer gives every sample the same weight."""
    learner = MentorLearner(config, CLASSES, seed=1)
    state = learner.state()
    payload = torch.load(io.BytesIO(state.payload), weights_only=True)
    draw = torch.Generator().manual_seed(1)
    for value in payload["mentor"].values():
        value.add_(torch.randn(value.shape, generator=draw), alpha=0.5)
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    learner.load(type(state)(0, -1, buffer.getvalue()))
    return learner


def make_run(name: str, exchange: AbstractExchange) -> tuple[Curriculum, Spy]:
    scenario = SCENARIOS[name]
    config = MentorConfig(**{"mentor_hidden": (6,), "update_interval": 2, **scenario.get("config", {})})
    torch.manual_seed(0)
    student = scenario["student"]()
    if exchange.world_size > 1:
        student = DistributedDataParallel(student)
    access = Spy(make_learner(config))
    parts = Parts(
        loss=make_loss(scenario.get("loss", CROSS_ENTROPY)),
        seen_loss=cross_entropy,
        meta_loss=cross_entropy,
        weighting=Learned(access),
        mixing=NoMixing(),
        gradient_rule=scenario.get("rule", Identity)(),
        mentor=access,
        meta_batch=lambda update: meta_of(update, exchange, scenario.get("bad")),
    )
    optimizer = (
        torch.optim.AdamW(student.parameters(), lr=0.01, eps=1e-3)
        if scenario.get("adam")
        else torch.optim.SGD(student.parameters(), lr=0.03, momentum=0.9, nesterov=True, weight_decay=1e-3)
    )
    curriculum = Curriculum(
        student,
        optimizer,
        parts,
        exchange,
        scenario.get("curriculum", CurriculumConfig()),
        config,
        total_steps=STEPS,
        n_samples=20,
        seed=0,
        split_history="loss" in scenario,
        n_classes=CLASSES,
    )
    return curriculum, access


def run(name: str, exchange: AbstractExchange) -> list[dict[str, Any]]:
    """All that can be seen of a run, step by step; per-sample values of this rank."""
    curriculum, access = make_run(name, exchange)
    seen = []
    for step in range(STEPS):
        record = curriculum.step(batch_of(step, exchange))
        payload = torch.load(io.BytesIO(access.state.payload), weights_only=True)
        seen.append(
            copy.deepcopy(
                {
                    "params": dict(curriculum.bare.named_parameters()),
                    "buffers": dict(curriculum.bare.named_buffers()),
                    "gradients": {key: param.grad for key, param in curriculum.bare.named_parameters()},
                    "percentile": curriculum.percentile.value,
                    "meta loss": record.meta_loss,
                    "settings": dict(record.hypergradients),
                    "losses": record.losses,
                    "sample weights": record.sample_weights,
                    "influence": record.influence,
                    "influence of all": access.updates[-1].influence,
                    "mentor": payload["mentor"],
                    "fallbacks": curriculum.guards.fallbacks,
                    "skipped updates": curriculum.guards.skipped_updates,
                    "class shares": {str(key): value for key, value in curriculum.guards.state.class_shares.items()},
                    "hypergradient": {
                        str(key): state["exp_avg"] for key, state in payload["optimizer"]["state"].items()
                    },
                }
            )
        )
    return seen


def stopped(exchange: AbstractExchange) -> str:
    """The error of a run in which one sample of the last rank has a bad input."""
    curriculum, _ = make_run("mlp", exchange)
    batch = batch_of(0, exchange)
    if exchange.rank == exchange.world_size - 1:
        batch.inputs[-1] = torch.nan
    try:
        curriculum.step(batch)
    except NonFiniteLossError as error:
        return str(error)
    return "no error"


def norm_layer(kind: type[nn.BatchNorm2d] | type[GlobalBatchNorm]) -> nn.Module:
    torch.manual_seed(0)
    layer = kind(3, dtype=torch.float64)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    return layer


def norm_input(shares: tuple[int, ...], rank: int | None) -> dict[str, Tensor]:
    """An input, a direction for it and for the params, and what the outputs are multiplied with."""
    draw = torch.Generator().manual_seed(8)
    own = slice(None) if rank is None else slice(sum(shares[:rank]), sum(shares[: rank + 1]))
    shape = (sum(shares), 3, 2, 2)
    rows = {name: torch.randn(shape, generator=draw, dtype=torch.float64)[own] for name in ("x", "dx", "factor")}
    return {**rows, **{name: torch.randn(3, generator=draw, dtype=torch.float64) for name in ("dw", "db")}}


def norm_tangent(layer: nn.Module, values: dict[str, Tensor]) -> Tensor:
    """The forward-mode derivative of the layer's output."""
    with torch.no_grad(), forward_ad.dual_level():
        params = {
            "weight": forward_ad.make_dual(layer.weight.detach(), values["dw"]),
            "bias": forward_ad.make_dual(layer.bias.detach(), values["db"]),
        }
        outputs = torch.func.functional_call(layer, params, (forward_ad.make_dual(values["x"], values["dx"]),))
        tangent = forward_ad.unpack_dual(outputs).tangent
        assert tangent is not None
        return tangent


def norm_difference(layer: nn.Module, values: dict[str, Tensor], size: float = 1e-5) -> Tensor:
    """The same by a central difference."""

    def at(t: float) -> Tensor:
        params = {"weight": layer.weight + t * values["dw"], "bias": layer.bias + t * values["db"]}
        return torch.func.functional_call(layer, params, (values["x"] + t * values["dx"],)).detach()

    return (at(size) - at(-size)) / (2 * size)


def norm_gradients(layer: nn.Module, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gradients of Σ factor·y: of the own rows of x, and the own part of those of the params."""
    x = values["x"].clone().requires_grad_()
    layer.zero_grad()
    (layer(x) * values["factor"]).sum().backward()
    return {"x": x.grad, "weight": layer.weight.grad, "bias": layer.bias.grad}  # type: ignore[dict-item]


def norm_facts(kind: type[nn.BatchNorm2d] | type[GlobalBatchNorm], rank: int | None) -> dict[str, Any]:
    values = norm_input(SHARES, rank)
    layer = norm_layer(kind)
    outputs = layer(values["x"]).detach()
    buffers = {name: buffer.clone() for name, buffer in layer.named_buffers()}
    facts = {
        "outputs": outputs,
        "buffers": buffers,
        "tangent": norm_tangent(norm_layer(kind), values),
        "difference": norm_difference(norm_layer(kind), values),
        "gradients": norm_gradients(norm_layer(kind), values),
    }
    return facts | {"in evaluation": layer.eval()(values["x"]).detach()}


VALUES: tuple[Any, ...] = (
    *(None, True, 17, -(1 << 40), 0.1, "", "é\0", ["a", 1.5, None], {"a": [1, False]}),
    *(bytes(range(256))[:length] for length in (0, 1, _INSIDE)),  # inside the first message
    *(bytes(range(256)) * 100, bytes(_INSIDE + 1), "x" * 1000, list(range(300))),  # longer than that
)


def rank_main(rank: int, folder: str) -> None:
    """Everything that two ranks are asked, in one start of two processes."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=200)
    )
    exchange = Ranks()
    results: dict[str, Any] = {name: run(name, exchange) for name in SCENARIOS}
    results["stopped"] = stopped(exchange)
    results["norm"] = norm_facts(GlobalBatchNorm, rank)
    results["exchange"] = {
        "sizes": exchange.sizes(3 - 3 * rank),
        "rows": exchange.gather(torch.full((3 - 3 * rank, 2), float(rank)), (3, 0)),
        "total": exchange.total(rank + 0.5),
        "word": exchange.broadcast(f"from {rank}"),
        "values": [repr(exchange.broadcast(value if rank == 0 else None)) for value in VALUES],
        "floats": exchange.broadcast_floats(torch.full((2,), float(rank))),
    }
    torch.save(results, Path(folder) / f"rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def alone() -> dict[str, Any]:
    """The same with the joined batch, in this process."""
    results: dict[str, Any] = {name: run(name, Alone()) for name in SCENARIOS}
    results["stopped"] = stopped(Alone())
    results["norm"] = norm_facts(nn.BatchNorm2d, None)
    return results
