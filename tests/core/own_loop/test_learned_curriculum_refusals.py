"""A training loop of one's own: what is refused, and what the message says."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.distributed as dist
from own_loop import CLASSES, Loop, assert_same_records, blobs, momentum, noisy, params, per_sample, student
from torch import Tensor, nn

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.exchange import Alone
from ray_mentor.core.own_loop.learned_curriculum import LearnedCurriculum
from ray_mentor.errors import NonFiniteLossError, UserError

EVERY_STEP = MentorConfig(update_interval=1, meta_batch_size=16)


def refusal(message: str) -> Any:
    """The block must raise exactly this."""
    return pytest.raises(UserError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"optimizer": torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)},
            "optimizer holds none of the student's params; make it from student.parameters()",
        ),
        (
            {"meta_loader": (torch.zeros(5, 3), torch.zeros(4, dtype=torch.long))},
            "the meta set holds 5 inputs and 4 labels, but it must hold as many of both, and some",
        ),
        (
            {"meta_loader": (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))},
            "the meta set holds 0 inputs and 0 labels, but it must hold as many of both, and some",
        ),
        (
            {"total_steps": 0},
            "total_steps is 0, but it must be at least 1; it is what progress is measured by",
        ),
        (
            {"mentor": MentorConfig(history_length=2)},
            "n_samples is 0, but a loss history needs the size of the training split",
        ),
        (
            {"mentor": MentorConfig(mentor_features=("label",))},
            "n_classes is None, but the mentor sees the label; give the number of classes",
        ),
        (
            {"curriculum": CurriculumConfig(mixing="mixup")},
            "mixing is 'mixup', but in a loop of one's own the batch is mixed by the loop",
        ),
        (
            {"curriculum": CurriculumConfig(method="mentornet-dd")},
            "method is 'mentornet-dd', whose mentor is taught when an epoch has ended; only the trainer can do that",
        ),
        (
            {"curriculum": CurriculumConfig(method="best")},
            "unknown method 'best'; valid: mentornet, mentornet-pd, uniform, oracle, self-paced, l2rw, spcl, "
            "predefined, focal, hard-mining, group-dro, mentornet-frozen, co-teaching, dividemix, mentornet-dd, "
            "mentornet-refined, rule",
        ),
    ],
)
def test_what_would_train_wrongly_is_refused_at_once(changes: dict[str, Any], message: str) -> None:
    model = student()
    arguments: dict[str, Any] = {"optimizer": momentum(model), "meta_loader": blobs(9, 0), "total_steps": 5}
    with refusal(message):
        LearnedCurriculum(model, **{**arguments, **changes})
    assert not model._forward_pre_hooks


def test_a_student_that_is_yet_to_be_built() -> None:
    with refusal("student is a function, but it must be the module that the loop calls and trains"):
        LearnedCurriculum(student, momentum(student()), blobs(9, 0), total_steps=5)  # type: ignore[arg-type]


def test_an_update_interval_below_1() -> None:
    with pytest.raises(UserError, match="update_interval is 0, but it must be at least 1"):
        Loop(update_interval=0)


def test_the_update_interval_is_a_short_cut() -> None:
    loop = Loop(update_interval=3)
    assert [record.meta_loss is not None for record in loop.run(5)] == [True, False, False, True, False]


def test_weigh_after_a_step_without_after_step() -> None:
    loop = Loop()
    loop.weigh(*next(noisy(1))).backward()
    loop.optimizer.step()
    with refusal("the optimizer has stepped since the last weigh, but after_step was not called"):
        loop.weigh(*next(noisy(1)))


@pytest.mark.parametrize("stepped", [False, True])
def test_after_step_before_weigh(stepped: bool) -> None:
    loop = Loop()
    if stepped:
        per_sample(loop.student(blobs(4, 0)[0]), blobs(4, 0)[1]).mean().backward()
        loop.optimizer.step()
    with refusal("after_step was called before weigh; weigh the losses first"):
        loop.curriculum.after_step()


def test_after_step_twice() -> None:
    loop = Loop()
    loop.run(1)
    with refusal("after_step was called before weigh; weigh the losses first"):
        loop.curriculum.after_step()


def test_sample_weights_when_nothing_is_weighed() -> None:
    loop = Loop()
    loop.run(1)
    with refusal("nothing is weighed; ask between weigh and after_step"):
        _ = loop.curriculum.sample_weights


def test_gradients_that_were_cleared() -> None:
    loop = Loop(mentor=EVERY_STEP)
    loop.weigh(*next(noisy(1))).backward()
    loop.optimizer.step()
    loop.optimizer.zero_grad()
    with refusal("after_step found no gradients; call it before they are cleared by zero_grad"):
        loop.curriculum.after_step()


@pytest.mark.parametrize("losses", [torch.tensor(0.5), torch.ones(7), torch.ones(8, 1)])
def test_losses_that_are_not_one_a_sample(losses: Tensor) -> None:
    loop = Loop()
    with refusal(
        f"losses has shape {tuple(losses.shape)} for 8 labels, but it must hold one loss per sample; e.g. give the "
        "loss reduction='none'"
    ):
        loop.curriculum.weigh(losses, labels=torch.zeros(8, dtype=torch.long))


def test_a_mentor_that_sees_labels_that_are_no_classes() -> None:
    loop = Loop(mentor=MentorConfig(mentor_features=("label",)), n_classes=CLASSES)
    inputs, _ = blobs(8, 0)
    with refusal("labels has shape (8, 2), but the mentor sees the label: one class a sample"):
        loop.curriculum.weigh(loop.student(inputs).sum(1), labels=torch.zeros(8, 2))


@pytest.mark.parametrize("curriculum", [CurriculumConfig(), CurriculumConfig(method="self-paced")])
def test_a_batch_without_samples(curriculum: CurriculumConfig) -> None:
    with refusal("the batch holds no sample; leave it out, on every rank alike"):
        Loop(curriculum=curriculum).weigh(*blobs(0, 0))


@pytest.mark.parametrize(
    "normed", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm, nn.utils.parametrizations.spectral_norm]
)
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
def test_a_head_whose_weight_is_made_of_others(normed: Any) -> None:
    def made() -> nn.Module:
        model = student()
        normed(model[2])  # type: ignore[index]
        return model

    with refusal(
        "estimator is 'last_layer', but the weight of the student's last nn.Linear is no param: it is made of others, "
        "as by weight_norm; give another estimator: --estimator jvp"
    ):
        Loop(made, mentor=MentorConfig(estimator="last_layer"))


class Complex(nn.Module):
    """A layer in the complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter = nn.Parameter(torch.randn(3, 8, dtype=torch.complex64))
        self.leave = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leave((x.to(torch.complex64) @ self.enter).abs())
        return out


def test_complex_params() -> None:
    """With SGD as good as any, with others refused before the first step."""
    loop = Loop(Complex, mentor=EVERY_STEP)
    assert loop.run(4)[-1].influence.isfinite().all()
    assert loop.curriculum.guards.inconsistent_updates == 0
    assert loop.curriculum.guards.state.rounding is not None
    with refusal(
        "optimizer is Adam, and 1 of its params is complex, which influences can be measured through with SGD alone; "
        "give SGD, or hold each of them as two real params"
    ):
        Loop(Complex, lambda model: torch.optim.Adam(model.parameters(), 0.01))


CALLED_ELSEWHERE = (
    "the student was not called in training mode, with gradients, before weigh; call the very module that the "
    "curriculum was given"
)


class TestTheForwardPassBeforeWeigh:
    def test_of_another_module(self) -> None:
        loop = Loop(lambda: nn.Sequential(student()))
        inputs, labels = blobs(8, 0)
        with refusal(CALLED_ELSEWHERE):
            loop.curriculum.weigh(per_sample(loop.student[0](inputs), labels), labels=labels)  # type: ignore[index]

    def test_in_eval_mode(self) -> None:
        loop = Loop()
        loop.student.eval()
        with refusal(CALLED_ELSEWHERE):
            loop.weigh(*blobs(8, 0))

    def test_of_the_batch_before(self) -> None:
        loop = Loop(mentor=EVERY_STEP)
        loop.run(1)
        with refusal(CALLED_ELSEWHERE):
            loop.curriculum.weigh(torch.ones(8, requires_grad=True), labels=blobs(8, 0)[1])

    def test_is_not_asked_for_where_no_meta_update_is_due(self) -> None:
        loop = Loop(update_interval=2)
        loop.run(1)
        loop.student.eval()
        loop.weigh(*blobs(8, 0))


ADD_UP = (
    r"^the influences of this step do not add up: weighted they sum to [-\d.e]+, by the step's own backward pass to "
    r"[-\d.e]+ \(rounding explains [-\d.e]+\)\. What is differentiated is not what the student is trained on\. Likely "
    r"causes: another loss than the loop's, or other labels \(give the curriculum the loss that the loop computes\); "
    r"more than one call of the student before weigh; a term added to the loss that weigh returned \(call backward on "
    r"it apart\); masks drawn from a generator of the student's own \(compiled dropout needs "
    r"torch\._inductor\.config\.fallback_random\); state of the student that is no buffer, or params of the loss that "
    r"have stepped since \(let their optimizer step after after_step\); a torch\.autograd\.Function "
    r"whose jvp is not its backward \(--estimator unrolled needs none\)$"
)


class TestReplay:
    """The loop's losses must be those of student, inputs and ``loss``."""

    def step(self, loop: Loop, losses: Tensor, labels: Tensor) -> None:
        loop.curriculum.weigh(losses, labels=labels).backward()
        loop.optimizer.step()
        loop.curriculum.after_step()

    def test_another_loss(self) -> None:
        loop = Loop()
        inputs, labels = blobs(8, 0)
        with pytest.raises(UserError, match=ADD_UP):
            self.step(loop, 3 * per_sample(loop.student(inputs), labels), labels)

    def test_labels_in_another_order(self) -> None:
        loop = Loop()
        inputs, labels = blobs(8, 0)
        with pytest.raises(UserError, match=ADD_UP):
            self.step(loop, per_sample(loop.student(inputs), labels), labels.flip(0))

    def test_two_calls_before_weigh(self) -> None:
        loop = Loop()
        inputs, labels = blobs(8, 0)
        losses = per_sample(loop.student(inputs), labels)
        loop.student(inputs.flip(0))
        with pytest.raises(UserError, match=ADD_UP):
            self.step(loop, losses, labels)

    def test_a_loss_that_is_a_mean(self) -> None:
        loop = Loop(loss=nn.functional.cross_entropy)
        inputs, labels = blobs(8, 0)
        with pytest.raises(ValueError, match=r"the loss returned shape \(\) for 8 samples, but it must return one"):
            self.step(loop, per_sample(loop.student(inputs), labels), labels)


class TestSampleIds:
    """Where the mentor sees the loss history, ids are rows of its table."""

    def loop(self) -> Loop:
        return Loop(mentor=MentorConfig(history_length=2), n_samples=20)

    def test_none(self) -> None:
        with refusal("sample_ids is None, but a mentor that sees the loss history must know which these are"):
            self.loop().weigh(*blobs(4, 1))

    @pytest.mark.parametrize(("first", "last"), [(-1, 2), (17, 20)])
    def test_out_of_range(self, first: int, last: int) -> None:
        with refusal(f"sample_ids run from {first} to {last}, but n_samples is 20: they must lie in 0..19"):
            self.loop().weigh(*blobs(4, 1), torch.arange(first, last + 1))

    @pytest.mark.parametrize("history", [False, True])
    def test_not_one_a_sample(self, history: bool) -> None:
        loop = self.loop() if history else Loop()
        with refusal("sample_ids has shape (5,) for 4 labels; give one id a sample"):
            loop.weigh(*blobs(4, 1), torch.arange(5))

    def test_any_will_do_without_a_history(self) -> None:
        loop = Loop(mentor=EVERY_STEP)
        ids = torch.tensor([10**12, -5, 7, 7])
        assert torch.equal(loop.step(*blobs(4, 1), ids).batch.ids, ids)


def test_a_loss_that_is_not_finite_names_the_sample_and_leaves_the_loop_usable() -> None:
    loop, plain = Loop(mentor=EVERY_STEP), Loop(mentor=EVERY_STEP)
    inputs, labels, ids = next(noisy(1))
    broken = inputs.clone()
    broken[3] = torch.nan
    before = params(loop.student)
    with pytest.raises(NonFiniteLossError, match=rf"sample ids {int(ids[3])}\); the student was not updated"):
        loop.weigh(broken, labels, ids)
    assert all(torch.equal(value, before[name]) for name, value in params(loop.student).items())
    assert_same_records(loop.run(3), plain.run(3))


def test_the_oracle_needs_the_truth() -> None:
    loop = Loop(curriculum=CurriculumConfig(method="oracle"))
    with pytest.raises(UserError, match="true label"):
        loop.weigh(*blobs(4, 1))


class TestStates:
    def test_another_format_version(self) -> None:
        with refusal("the state has format version None, but this version reads 6"):
            Loop().curriculum.load_state_dict({})

    def test_another_history(self) -> None:
        state = Loop().curriculum.state_dict()
        loop = Loop(mentor=MentorConfig(history_length=2), n_samples=60)
        with refusal(
            "the state's loss history is of (0, 0) (samples, numbers each), but this curriculum's is of (60, 2); "
            "n_samples, history_length and loss must be as they were"
        ):
            loop.curriculum.load_state_dict(state)

    @pytest.mark.parametrize(
        ("saved", "loaded", "said"),
        [
            ("uniform", "mentornet", "the state holds no mentor, but this curriculum has one"),
            ("mentornet", "uniform", "the state holds a mentor, but this curriculum has none"),
        ],
    )
    def test_another_method(self, saved: str, loaded: str, said: str) -> None:
        state = Loop(curriculum=CurriculumConfig(method=saved)).curriculum.state_dict()
        with refusal(f"{said}; the method must be as it was"):
            Loop(curriculum=CurriculumConfig(method=loaded)).curriculum.load_state_dict(state)

    @pytest.mark.parametrize(
        ("saved", "loaded", "one", "other"),
        [({}, {"loss": per_sample}, "", " not"), ({"loss": per_sample}, {}, " not", "")],
    )
    def test_another_loss(self, saved: dict[str, Any], loaded: dict[str, Any], one: str, other: str) -> None:
        first = Loop(**saved)
        first.run(1)
        loop = Loop(**loaded)
        with refusal(
            f"the state is of a loss that is{one} in nats, but this curriculum's is{other}; loss and meta_loss must be "
            "as they were"
        ):
            loop.curriculum.load_state_dict(first.curriculum.state_dict())


class TestProcesses:
    """More than one process, and a student that is not wrapped: each would go its own way without a word."""

    @pytest.fixture(autouse=True)
    def _two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        monkeypatch.setattr(dist, "get_world_size", lambda: 2)

    def test_a_bare_student(self) -> None:
        with refusal(
            "student is not wrapped for data parallelism, but there are 2 processes; give the DistributedDataParallel "
            "that the loop calls, or exchange=Alone() if each process trains its own student"
        ):
            Loop()

    def test_a_student_for_each(self) -> None:
        assert len(Loop(exchange=Alone()).run(2)) == 2
