"""The callback under real trainers: in one process it is the plain loop, and two processes are one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from ray_mentor.config import CurriculumConfig, MentorConfig
from ray_mentor.core.own_loop.learned_curriculum import LearnedCurriculum
from ray_mentor.core.plain_load import load_plain
from ray_mentor.errors import UserError

pytest.importorskip("lightning")
import lightning_run
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning_run import CLASSES, Module, blobs, fit, make_callback, make_trainer, mentor_bytes, train_loader
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

pytestmark = [  # Lightning's own: of a deprecation inside torch, and of how small these runs are
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches .* is smaller than the logging interval"),
]


def plain_loop(accumulate: int = 1, clip: float | None = None, autocast: bool = False, **options: Any) -> Any:
    """What a fit must be equal to: (module, curriculum)."""
    module = Module()
    optimizer = module.configure_optimizers()["optimizer"]
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    total_steps = 2 * 6 // accumulate
    settings = {**lightning_run.SETTINGS, **options}
    meta = DataLoader(TensorDataset(*blobs(16, 1)), batch_size=8, shuffle=True)
    curriculum = LearnedCurriculum(module.net, optimizer, meta, total_steps=total_steps, **settings)
    for _ in range(2):
        for number, (inputs, labels, ids) in enumerate(train_loader()):
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                losses = F.cross_entropy(module.net(inputs), labels, reduction="none")
            loss = curriculum.weigh(losses, labels=labels, sample_ids=ids)
            if number % accumulate == 0:
                optimizer.zero_grad()
            (loss / accumulate).backward()
            if number % accumulate == accumulate - 1:
                if clip is not None:
                    nn.utils.clip_grad_norm_(module.parameters(), clip)
                optimizer.step()
                curriculum.after_step()
                schedule.step()
    return module, curriculum


@pytest.mark.parametrize(
    ("trainer", "loop"),
    [
        ({}, {}),
        ({"accumulate_grad_batches": 3}, {"accumulate": 3}),
        ({"gradient_clip_val": 0.1}, {"clip": 0.1}),
        ({"precision": "bf16-mixed"}, {"autocast": True}),
    ],
    ids=["plain", "accumulation", "clipping", "bf16-mixed"],
)
def test_a_fit_is_the_plain_loop_bit_for_bit(trainer: dict[str, Any], loop: dict[str, Any]) -> None:
    expected, curriculum = plain_loop(**loop)
    module, callback = fit(**trainer)
    assert callback.curriculum is not None
    assert callback.curriculum.curriculum.step_number == curriculum.curriculum.step_number
    assert callback.curriculum.curriculum.meta.done == curriculum.curriculum.meta.done > 1
    for name, value in expected.state_dict().items():
        assert torch.equal(module.state_dict()[name], value), name
    assert mentor_bytes(callback) == curriculum.mentor.state.payload


@pytest.mark.parametrize(("given", "first"), [({}, 30), ({"epochs": 100}, 15)])
def test_the_trainer_says_how_many_epochs_there_are(given: dict[str, Any], first: int) -> None:
    """Of 50 epochs, 300 steps, burn-in takes 5, and not 45 steps; a loop that ends before says so."""

    class Stops(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            trainer.should_stop = True

    callback = make_callback(curriculum=CurriculumConfig(), **given)
    with pytest.warns(UserWarning, match=f"ended after 6 of total_steps=300 .* after {first} of burn-in"):
        make_trainer(callbacks=[callback, Stops()], max_epochs=50).fit(Module(), train_loader())


def test_it_tells_wrong_labels_from_right_ones() -> None:
    weights: dict[bool, list[float]] = {True: [], False: []}

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
            if trainer.current_epoch == 39:
                record = callback.record
                assert record is not None
                for name, weight in zip(record.batch.ids, record.sample_weights, strict=True):
                    weights[int(name) % 3 == 0].append(float(weight))

    callback = make_callback(mentor=MentorConfig(update_interval=2, mentor_learning_rate=0.01))
    module = Module(schedule=False)
    make_trainer(max_epochs=40, callbacks=[callback, Watch()]).fit(module, train_loader())
    assert torch.tensor(weights[False]).mean() > 0.7
    assert torch.tensor(weights[True]).mean() < 0.4


def test_going_on_from_a_checkpoint_is_not_having_stopped(tmp_path: Path) -> None:
    def with_dropout() -> Module:
        return Module(nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, CLASSES)))

    class Save(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            trainer.save_checkpoint(tmp_path / f"{trainer.current_epoch}.ckpt")

    schedule = CurriculumConfig(example_dropout="0.2:1")
    whole, callback = with_dropout(), make_callback(curriculum=schedule)
    make_trainer(max_epochs=3, callbacks=[callback, Save()]).fit(whole, train_loader())
    resumed, again = with_dropout(), make_callback(curriculum=schedule)
    trainer = make_trainer(max_epochs=3, callbacks=[again])
    trainer.fit(resumed, train_loader(), ckpt_path=tmp_path / "0.ckpt")
    assert again.curriculum is not None
    assert again.curriculum.curriculum.step_number == 18
    assert mentor_bytes(again) == mentor_bytes(callback)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    stored = torch.load(tmp_path / "2.ckpt", weights_only=True)["callbacks"]["LearnedCurriculumCallback"]
    assert stored["curriculum"]["mentor"]["payload"] == mentor_bytes(callback)
    assert again.state_dict()["curriculum"]["step"] == 18  # after the fit, too


class TestWithoutATrace:
    @pytest.mark.filterwarnings(
        "ignore:.*but the mentor never learned:UserWarning"
    )  # all is burn-in in one of the runs
    def test_logs_and_metrics_count_training_batches_alone(self) -> None:
        class Counting(Module):
            def __init__(self) -> None:
                super().__init__()
                self.mean = MeanMetric()
                self.scores = MetricCollection([MulticlassAccuracy(CLASSES), MulticlassF1Score(CLASSES)])
                self.logged: list[str] = []

            def training_step(self, batch: Any, batch_idx: int) -> Tensor:
                losses = super().training_step(batch, batch_idx)
                self.mean(losses)
                self.scores(self.net(batch[0]), batch[1])
                self.log("mean", self.mean, on_step=False, on_epoch=True)
                self.log_dict(self.scores, on_step=False, on_epoch=True)
                return losses

        def figures(**options: Any) -> dict[str, float]:
            module = Counting()
            trainer = make_trainer(max_epochs=1, callbacks=[make_callback(**options)])
            trainer.fit(module, train_loader())
            assert module.mean.update_count in (0, 6)  # reset at the end of an epoch
            return {name: float(value) for name, value in trainer.callback_metrics.items()}

        never_weighs = {"curriculum": CurriculumConfig(burn_in=0.999)}
        found = figures(mentor=MentorConfig(update_interval=1), **never_weighs)
        expected = figures(mentor=MentorConfig(update_interval=1000), **never_weighs)
        assert found.keys() == {"loss", "mean", "MulticlassAccuracy", "MulticlassF1Score"}
        assert found == expected

    def test_the_module_is_given_back(self) -> None:
        module, callback = fit()
        assert "training_step" not in vars(module)
        assert "log" not in vars(module)
        assert callback.curriculum is not None
        assert not callback.curriculum.curriculum.optimizer._optimizer_step_post_hooks

    def test_also_when_training_fails(self) -> None:
        class Failing(Module):
            def training_step(self, batch: Any, batch_idx: int) -> Tensor:
                if batch_idx == 3:
                    raise RuntimeError("out of memory")
                return super().training_step(batch, batch_idx)

        module = Failing()
        with pytest.raises(RuntimeError, match="out of memory"):
            make_trainer(callbacks=[make_callback()]).fit(module, train_loader())
        assert "training_step" not in vars(module)

    def test_two_fits_one_after_the_other(self) -> None:
        module, callback = Module(), make_callback()
        for _ in range(2):
            make_trainer(max_epochs=1, callbacks=[callback]).fit(module, train_loader())
            assert callback.curriculum is not None
            assert callback.curriculum.curriculum.step_number == 6


class TestForms:
    """What training_step may take and return."""

    def same_as_plain(self, module: LightningModule, loader: Any, **options: Any) -> None:
        _, expected = plain_loop()
        callback = make_callback(**options)
        make_trainer(callbacks=[callback]).fit(module, loader)
        assert mentor_bytes(callback) == expected.mentor.state.payload

    def test_a_dict_with_names_of_its_own_and_no_batch_index(self) -> None:
        class Named(Module):
            def training_step(self, batch: Any) -> dict[str, Any]:  # type: ignore[override]
                losses = super().training_step(batch, 0)
                return {"loss": losses, "labels": batch[1], "sample_ids": None, "note": "kept"}

            def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
                assert outputs["note"] == "kept"
                assert outputs["loss"].shape == ()

        self.same_as_plain(Named(), train_loader())

    @pytest.mark.parametrize("known", [{}, {"n_classes": CLASSES}, {"class_sizes": [20] * CLASSES}])
    def test_logits_beside_the_losses_say_the_predicted_class(self, known: dict[str, Any]) -> None:
        class Telling(Module):
            def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:  # type: ignore[override]
                logits = self.net(batch[0])
                return {"loss": F.cross_entropy(logits, batch[1], reduction="none"), "logits": logits}

        callback = make_callback(**known)
        make_trainer(callbacks=[callback]).fit(Telling(), train_loader())
        assert callback.curriculum is not None
        assert callback.curriculum.mentor is not None
        counts = load_plain(callback.curriculum.mentor.state.payload)["mentor"]["evidence.counts"]
        assert bool(counts.sum() > 0) is bool(known)

    def test_a_mapping_as_batch(self) -> None:
        class Mapped(Module):
            def training_step(self, batch: Any, batch_idx: int) -> Tensor:
                return super().training_step((batch["x"], batch["labels"]), batch_idx)

        def mapped(loader: Any) -> DataLoader[Any]:
            batches = [dict(zip(("x", "labels", "sample_ids"), batch, strict=False)) for batch in loader]
            return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

        class Again:
            def __init__(self) -> None:
                self.loader = lightning_run.meta_loader()

            def __iter__(self) -> Iterator[Any]:
                for inputs, labels in self.loader:
                    yield {"x": inputs, "labels": labels}

        self.same_as_plain(Mapped(), mapped(train_loader()), meta_loader=Again())

    def test_a_batch_of_another_form_with_a_function_to_read_it(self) -> None:
        class Nested(Module):
            def training_step(self, batch: Any, batch_idx: int) -> Tensor:
                return super().training_step((batch[0]["x"], batch[0]["y"]), batch_idx)

        def nested(loader: Any) -> Any:
            return DataLoader([[{"x": batch[0], "y": batch[1]}] for batch in loader], batch_size=None)  # type: ignore[arg-type]

        class Again:
            def __init__(self) -> None:
                self.loader = lightning_run.meta_loader()

            def __iter__(self) -> Iterator[Any]:
                for inputs, labels in self.loader:
                    yield [{"x": inputs, "y": labels}]

        self.same_as_plain(
            Nested(), nested(train_loader()), meta_loader=Again(), read=lambda batch: (batch[0]["y"], None)
        )

    @pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
    def test_batches_that_training_step_skips(self) -> None:
        class Skipping(Module):
            def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:  # type: ignore[override]
                return None if batch_idx % 2 else super().training_step(batch, batch_idx)

        callback = make_callback()
        make_trainer(max_epochs=1, callbacks=[callback]).fit(Skipping(), train_loader())
        assert callback.curriculum is not None
        assert callback.curriculum.curriculum.step_number == 3


def returns(value: Callable[[Tensor], Any]) -> Module:
    class Returning(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return value(super().training_step(batch, batch_idx))

    return Returning()


class TestRefusals:
    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (
                lambda losses: losses.mean(),
                r"training_step returned a loss of shape \(\) for 10 samples, but the callback weighs per-sample "
                r"losses: return one a sample; e\.g\. give the loss reduction='none'",
            ),
            (lambda losses: {"loss": losses[1:]}, r"training_step returned a loss of shape \(9,\) for 10 samples"),
            (
                lambda losses: {"losses": losses},
                "training_step returned a dict without losses, but the callback weighs them: return a tensor, or a "
                "dict with 'loss'",
            ),
        ],
        ids=["mean", "too few", "another name"],
    )
    def test_what_training_step_returns(self, value: Any, message: str) -> None:
        with pytest.raises(UserError, match=f"^{message}"):
            make_trainer(callbacks=[make_callback()]).fit(returns(value), train_loader())

    def test_a_batch_that_cannot_be_read(self) -> None:
        loader = DataLoader([{"x": torch.ones(10, 3)}], batch_size=None)  # type: ignore[arg-type]

        class Unsupervised(Module):
            def training_step(self, batch: Any, batch_idx: int) -> Tensor:
                return self.net(batch["x"]).sum(1)  # type: ignore[no-any-return]

        with pytest.raises(
            UserError, match=r"^the batch is a dict, but it must be \(inputs, labels\[, sample ids\]\) or"
        ):
            make_trainer(callbacks=[make_callback()]).fit(Unsupervised(), loader)

    def test_manual_optimisation(self) -> None:
        module = Module()
        module.automatic_optimization = False
        with pytest.raises(UserError, match=r"^the module optimises manually, .* ray_mentor\.LearnedCurriculum in"):
            make_trainer(callbacks=[make_callback()]).fit(module, train_loader())

    def test_no_optimizer(self) -> None:
        class Without(Module):
            def configure_optimizers(self) -> Any:
                return None

        with (
            pytest.warns(UserWarning, match="this fit will run with no optimizer"),
            pytest.raises(UserError, match=r"^optimizer holds none of the student's params"),
        ):
            make_trainer(callbacks=[make_callback()]).fit(Without(), train_loader())

    def test_two_optimizers(self) -> None:
        class Two(Module):
            def configure_optimizers(self) -> Any:
                return [torch.optim.SGD(self.net.parameters(), 0.1) for _ in range(2)]

        with pytest.raises((UserError, RuntimeError), match="optimizers"):
            make_trainer(callbacks=[make_callback()]).fit(Two(), train_loader())

    def test_a_run_without_an_end(self) -> None:
        trainer = make_trainer(max_epochs=-1, callbacks=[make_callback(total_steps=None)])
        with pytest.raises(
            UserError, match=r"^the trainer has no end that progress could be measured against; give it"
        ):
            trainer.fit(Module(), train_loader())

    def test_which_a_number_of_steps_allows(self) -> None:
        class Stop(Callback):
            def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
                trainer.should_stop = True

        callback = make_callback(total_steps=50)
        make_trainer(max_epochs=-1, min_epochs=None, callbacks=[callback, Stop()]).fit(Module(), train_loader())
        assert callback.curriculum is not None
        assert callback.curriculum.curriculum.progress == pytest.approx(1 / 50)

    def test_dataloader_iter(self) -> None:
        class Iterating(Module):
            def training_step(self, dataloader_iter: Any) -> Any:  # type: ignore[override]
                return None

        with (
            pytest.warns(UserWarning, match="dataloader_iter"),
            pytest.raises(
                UserError, match=r"^training_step takes dataloader_iter, but the callback must see the batch"
            ),
        ):
            make_trainer(callbacks=[make_callback()]).fit(Iterating(), train_loader())

    def test_without_lightning_installed(self) -> None:
        code = "import sys; sys.modules['lightning'] = None; import ray_mentor.lightning"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "ImportError: ray_mentor.lightning needs Lightning; pip install 'ray-mentor[lightning]'" in done.stderr


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found, which Lightning starts itself."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, lightning_run.__file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=560, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.slow
class TestTwoProcesses:
    """Under ddp, each with every other sample: as one process with all of them, to rounding."""

    @pytest.mark.parametrize("name", lightning_run.SCENARIOS)
    def test_equal_one(self, name: str, ranks: list[dict[str, Any]]) -> None:
        expected = lightning_run.facts(name, devices=1)
        for found in ranks:
            assert found[name]["steps"] == expected["steps"]
            for part in ("params", "mentor"):
                for key, value in expected[part].items():
                    rtol, atol = (1e-2, 1e-3) if name == "bf16-mixed" else (1e-4, 1e-5)
                    torch.testing.assert_close(found[name][part][key], value, rtol=rtol, atol=atol)

    @pytest.mark.parametrize("name", lightning_run.SCENARIOS)
    def test_hold_the_same_bits(self, name: str, ranks: list[dict[str, Any]]) -> None:
        for part in ("params", "mentor"):
            assert all(torch.equal(value, ranks[1][name][part][key]) for key, value in ranks[0][name][part].items())


def test_the_guards_are_there_too() -> None:
    """Of four meta batches every second one is not finite; the weights count as collapsed whatever they are."""
    inputs, labels = blobs(16, 1)
    meta = [(inputs, labels), (torch.full_like(inputs, torch.nan), labels)]
    settings = MentorConfig(update_interval=3, min_effective_share=0.9999999, mentor_learning_rate=0.01)
    callback = make_callback(meta_loader=meta, mentor=settings)
    make_trainer(callbacks=[callback]).fit(Module(), train_loader())
    assert callback.curriculum is not None
    guards = callback.curriculum.guards
    assert guards.skipped_updates == 2
    assert 0 < guards.fallbacks < 12
    assert callback.curriculum.curriculum.meta.done == 4
