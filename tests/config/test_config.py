"""Settings: checked when made, one name each, read from files in two formats."""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_mentor.config import (
    CurriculumConfig,
    DataConfig,
    LearnConfig,
    MentorConfig,
    MixtureConfig,
    RunSettings,
    StudentConfig,
    TrainConfig,
    parse_noise,
    parse_schedule,
)
from ray_mentor.config.file import read_config, to_toml
from ray_mentor.errors import UserError
from ray_mentor.wording import MEANT

GROUPS = (DataConfig, StudentConfig, MentorConfig, CurriculumConfig, RunSettings, MixtureConfig, LearnConfig)
OTHER = {
    "data": "some/where",
    "feature_columns": ["a", "b"],
    "noise": "instance:0.25",
    "learning_rate": 0.5,
    "mentor_hidden": [20, 30],
    "mentor_features": ["label", "progress"],
    "method": "uniform",
    "run_name": 'ünï "quoted" \\ name',
    "gpu": True,
    "train_size": 12,
    "example_dropout": "0.5:0.17,0.05:0.83",
}


def error_of(make: Any, *arguments: Any, **settings: Any) -> str:
    with pytest.raises(UserError) as raised:
        make(*arguments, **settings)
    return str(raised.value)


# One flat table


def test_a_setting_has_one_name_over_all_groups() -> None:
    counts = collections.Counter(field.name for group in GROUPS for field in dataclasses.fields(group))
    assert [name for name, count in counts.items() if count > 1] == []
    assert set(TrainConfig().flat()) == set(counts)


def test_no_name_is_one_of_the_command_lines_own() -> None:
    assert not {"config", "verbose", "v", "help", "h"} & set(TrainConfig().flat())


def test_flat_and_back() -> None:
    config = TrainConfig.from_flat(OTHER)
    assert TrainConfig.from_flat(config.flat()) == config
    assert config.mentor.mentor_hidden == (20, 30)
    assert TrainConfig.from_flat({}) == TrainConfig()


def test_settings_cannot_be_changed() -> None:
    for group in (*GROUPS, TrainConfig):
        made = group()
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, dataclasses.fields(made)[0].name, 1)


def test_every_setting_says_what_it_means() -> None:
    """The sentence under each field, that --help shows."""
    sources = [Path(__file__).parents[2] / f"{group.__module__.replace('.', '/')}.py" for group in GROUPS]
    lines = [line for source in sources for line in source.read_text().splitlines()]
    for name in TrainConfig().flat():
        place = next(i for i, line in enumerate(lines) if line.startswith(f"    {name}: "))
        assert lines[place + 1].startswith('    """'), name


def test_an_unknown_name_suggests_near_ones() -> None:
    assert error_of(TrainConfig.from_flat, {"update_intervall": 3}) == (
        "unknown setting 'update_intervall'; nearest valid: update_interval, shares_interval, learn_interval"
    )


@pytest.mark.parametrize(("name", "meant"), MEANT.items())
def test_a_name_that_a_setting_has_elsewhere(name: str, meant: str) -> None:
    assert error_of(TrainConfig.from_flat, {name: 3}) == f"unknown setting {name!r}; nearest valid: {meant}"


def test_a_name_like_no_other_lists_them_all() -> None:
    text = error_of(TrainConfig.from_flat, {"zzz": 3})
    assert text == f"unknown setting 'zzz'; nearest valid: {', '.join(sorted(TrainConfig().flat()))}"


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("epochs", "ten", "of type int"),
        ("epochs", 2.5, "of type int"),
        ("epochs", True, "of type int"),
        ("learning_rate", "fast", "of type float"),
        ("learning_rate", False, "of type float"),
        ("gpu", 1, "of type bool"),
        ("data", 3, "of type str"),
        ("run_name", 3, "of type str or None"),
        ("train_size", "all", "of type int or None"),
        ("scoring", 3, "of type str"),
        ("mentor_hidden", 100, "a list of int"),
        ("feature_columns", "a", "a list of str"),
    ],
)
def test_a_value_of_the_wrong_type(name: str, value: Any, kind: str) -> None:
    assert error_of(TrainConfig.from_flat, {name: value}) == f"{name} is {value!r}, but it must be {kind}"


def test_an_item_of_the_wrong_type() -> None:
    text = error_of(TrainConfig.from_flat, {"mentor_hidden": [100, "x"]})
    assert text == "mentor_hidden is 'x', but it must be of type int"


def test_a_whole_number_is_a_float_too() -> None:
    rate = TrainConfig.from_flat({"learning_rate": 1}).student.learning_rate
    assert (rate, type(rate)) == (1.0, float)


# Rules


@pytest.mark.parametrize(
    ("group", "values", "text"),
    [
        (DataConfig, {"noise": "symmetric:1"}, "noise rate is 1.0, but it must lie in [0, 1); "
         "e.g. symmetric:0.4 for 40 %"),
        (DataConfig, {"meta_size": -1}, "meta_size is -1, but it must be at least 0"),
        (DataConfig, {"data": ""}, "data is '', but it must name a data set or a path"),
        (DataConfig, {"test_share": 1.0}, "test_share is 1.0, but it must lie in (0, 1)"),
        (DataConfig, {"validation_share": -0.1}, "validation_share is -0.1, but it must lie in [0, 1)"),
        (DataConfig, {"train_size": 0}, "train_size is 0, but it must be above 0"),
        (DataConfig, {"image_size": 7}, "image_size is 7, but it must be at least 8; e.g. 224"),
        (DataConfig, {"augment": "cut"}, "unknown augment 'cut'; valid: none, flip-shift, flip-crop, randaugment, "
         "trivialaugment, MODULE:FUNCTION, FILE.py:FUNCTION"),
        (DataConfig, {"augment": "mine.py:"}, "unknown augment 'mine.py:'; valid: none, flip-shift, flip-crop, "
         "randaugment, trivialaugment, MODULE:FUNCTION, FILE.py:FUNCTION"),
        (StudentConfig, {"optimizer": "lion"}, "unknown optimizer 'lion'; valid: sgd, adam, adamw"),
        (StudentConfig, {"schedule": "steps"}, "unknown schedule 'steps'; valid: cosine, constant"),
        (StudentConfig, {"learning_rate": 0.0}, "learning_rate is 0.0, but it must be above 0"),
        (StudentConfig, {"learning_rate": float("nan")}, "learning_rate is nan, but it must be above 0"),
        (StudentConfig, {"momentum": 1.0}, "momentum is 1.0, but it must lie in [0, 1)"),
        (StudentConfig, {"momentum": 0.0}, "nesterov is True, but it needs a momentum above 0; "
         "give --no-nesterov or a momentum"),
        (StudentConfig, {"weight_decay": -1.0}, "weight_decay is -1.0, but it must be at least 0"),
        (MentorConfig, {"mentor": "cnn"}, "unknown mentor 'cnn'; valid: mlp, mentornet, lstm, cmw"),
        (MentorConfig, {"mentor_features": ()}, "mentor_features is (), but at least one is needed"),
        (MentorConfig, {"mentor_features": ("age",)}, "unknown mentor feature 'age'; "
         "valid: loss, loss_difference, label, progress, history, class_share"),
        (MentorConfig, {"mentor_features": ("history",)}, "history_length is 0, but the feature `history` "
         "needs at least 1"),
        (MentorConfig, {"mentor_hidden": (0,)}, "mentor_hidden is (0,), but widths are above 0"),
        (MentorConfig, {"update_interval": 0}, "update_interval is 0, but it must be at least 1"),
        (MentorConfig, {"meta_batch_size": 0}, "meta_batch_size is 0, but it must be at least 1"),
        (MentorConfig, {"influence_samples": -1}, "influence_samples is -1, but it must be at least 0"),
        (MentorConfig, {"scoring": "both"}, "unknown scoring 'both'; valid: auto, actor, replica"),
        (MentorConfig, {"normalisation": "max"}, "unknown normalisation 'max'; valid: sum, batch"),
        (MentorConfig, {"min_effective_share": 1.0}, "min_effective_share is 1.0, but it must lie in [0, 1)"),
        (MentorConfig, {"min_class_share": -0.1}, "min_class_share is -0.1, but it must lie in [0, 1)"),
        (MentorConfig, {"meta_holdout": 1.0}, "meta_holdout is 1.0, but it must lie in [0, 1)"),
        (MentorConfig, {"meta_holdout": float("nan")}, "meta_holdout is nan, but it must lie in [0, 1)"),
        (MentorConfig, {"anchor": 1.0}, "anchor is 1.0, but it must lie in [0, 1)"),
        (MentorConfig, {"mentor_patience": -1}, "mentor_patience is -1, but it must be at least 0"),
        (MentorConfig, {"mentor_patience": 3, "meta_holdout": 0.0}, "mentor_patience is 3, but it needs held-out meta "
         "samples; give --meta-holdout"),
        (MentorConfig, {"loss_percentile": 1.0}, "loss_percentile is 1.0, but it must lie in (0, 1)"),
        (CurriculumConfig, {"mixing": "cutmix"}, "unknown mixing 'cutmix'; valid: none, mixup, mentormix, "
         "mentormix-published"),
        (CurriculumConfig, {"mixup_alpha": 0.0}, "mixup_alpha is 0.0, but it must be above 0"),
        (CurriculumConfig, {"burn_in": 1.0}, "burn_in is 1.0, but it must lie in [0, 1)"),
        (CurriculumConfig, {"meta_in_training": 1.1}, "meta_in_training is 1.1, but it must lie in [0, 1]"),
        (CurriculumConfig, {"meta_in_training": -0.1}, "meta_in_training is -0.1, but it must lie in [0, 1]"),
        (RunSettings, {"epochs": 0}, "epochs is 0, but it must be at least 1"),
        (RunSettings, {"workers": -1}, "workers is -1, but it must be at least 0, or auto"),
        (RunSettings, {"seed": -1}, "seed is -1, but it must be at least 0"),
        (RunSettings, {"run_name": "a/b"}, "run_name is 'a/b', but it must hold no /"),
        (RunSettings, {"resume": True}, "resume is True, but it needs --run-name"),
        (RunSettings, {"resume_or_start": True}, "resume_or_start is True, but it needs --run-name"),
        (RunSettings, {"node_seconds": -1.0}, "node_seconds is -1.0, but it must be at least 0"),
    ],
)  # fmt: skip
def test_a_value_against_the_rules(group: Any, values: dict[str, Any], text: str) -> None:
    assert error_of(group, **values) == text


@pytest.mark.parametrize(
    ("text", "meaning"),
    [("none", ("none", 0.0)), ("symmetric:0.4", ("symmetric", 0.4)), ("instance:0", ("instance", 0.0))],
)
def test_noise(text: str, meaning: tuple[str, float]) -> None:
    assert parse_noise(text) == meaning


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pink:0.4", "unknown noise 'pink'; valid: none, symmetric, asymmetric, instance, imb"),
        ("symmetric", "noise is 'symmetric', but it must be symmetric:RATE, e.g. symmetric:0.4"),
        ("symmetric:", "noise is 'symmetric:', but it must be symmetric:RATE, e.g. symmetric:0.4"),
        ("symmetric:half", "noise is 'symmetric:half', but it must be symmetric:RATE, e.g. symmetric:0.4"),
        ("asymmetric:-0.1", "noise rate is -0.1, but it must lie in [0, 1); e.g. asymmetric:0.4 for 40 %"),
        ("asymmetric:nan", "noise rate is nan, but it must lie in [0, 1); e.g. asymmetric:0.4 for 40 %"),
        ("none:0.4", "noise is 'none:0.4', but none takes no rate"),
    ],
)
def test_noise_that_is_not(text: str, said: str) -> None:
    assert error_of(parse_noise, text) == said


def test_auto_noise_is_for_the_demonstration_only() -> None:
    assert DataConfig().resolved_noise == ("symmetric", 0.4)
    assert DataConfig(data="cifar10").resolved_noise == ("none", 0.0)
    assert DataConfig(data="cifar10", noise="instance:0.2").resolved_noise == ("instance", 0.2)


def test_the_published_dropout_schedule() -> None:
    assert parse_schedule("0.5:0.17,0.05:0.83") == ((0.5, 0.17), (0.05, 0.83))
    assert parse_schedule("") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.5", "example_dropout holds '0.5', but each part must be RATE:SHARE, e.g. 0.5:0.17,0.05:0.83"),
        ("1:1", "example_dropout rate is 1.0, but it must lie in [0, 1)"),
        ("0.5:0,0.1:1", "example_dropout share is 0.0, but it must be above 0"),
        ("0.5:0.5,0.1:0.4", "example_dropout is '0.5:0.5,0.1:0.4', but the shares must add up to 1, not 0.9"),
    ],
)
def test_dropout_schedules_that_are_not(text: str, said: str) -> None:
    assert error_of(parse_schedule, text) == said


# Files


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    config = TrainConfig.from_flat(OTHER)
    (tmp_path / "run.toml").write_text(to_toml(config.flat()))
    assert TrainConfig.from_flat(read_config(str(tmp_path / "run.toml"))) == config


@settings(deadline=None)
@given(
    name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"])).filter(
        lambda name: name not in ("", ".", "..")
    ),
    rate=st.floats(1e-300, 1e17),
    hidden=st.lists(st.integers(1, 10**6), max_size=4),
)
def test_any_text_and_number_survives_a_file(
    name: str, rate: float, hidden: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = TrainConfig.from_flat({"run_name": name, "learning_rate": rate, "mentor_hidden": hidden})
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(to_toml(config.flat()), encoding="utf-8")
    assert TrainConfig.from_flat(read_config(str(file))) == config


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", 'update-interval = 3\nmentor_hidden = [5, 6]\nnoise = "none"\n'),
        ("a.toml", 'update_interval = 3\nmentor-hidden = [5, 6]\nnoise = "none"\n'),
        ("a.yaml", "update-interval: 3\nmentor_hidden: [5, 6]\nnoise: none\n"),
        ("a.yml", "update_interval: 3\nmentor-hidden:\n- 5\n- 6\nnoise: none\n"),
    ],
)
def test_two_formats_with_dashes_or_underscores(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    expected = TrainConfig(DataConfig(noise="none"), mentor=MentorConfig(update_interval=3, mentor_hidden=(5, 6)))
    assert TrainConfig.from_flat(read_config(str(tmp_path / name))) == expected


@pytest.mark.parametrize("name", ["empty.toml", "empty.yaml"])
def test_an_empty_file_is_a_run_with_the_defaults(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("# nothing yet\n")
    assert TrainConfig.from_flat(read_config(str(tmp_path / name))) == TrainConfig()


def test_one_setting_under_two_spellings_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "twice.toml"
    file.write_text("update-interval = 3\nupdate_interval = 4\n")
    assert error_of(read_config, str(file)) == f"config file {str(file)!r} names update_interval twice; keep one"


def test_a_file_that_is_not_there() -> None:
    assert error_of(read_config, "no/such.toml") == "there is no config file 'no/such.toml'"


def test_a_file_of_another_kind() -> None:
    text = error_of(read_config, "settings.json")
    assert text == "config file is 'settings.json', but it must end in one of .toml, .yaml, .yml"


@pytest.mark.parametrize(("name", "text"), [("bad.toml", "epochs = = 3"), ("bad.yaml", "epochs: [3")])
def test_a_file_with_a_syntax_error(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert error_of(read_config, str(tmp_path / name)).startswith(
        f"config file {str(tmp_path / name)!r} cannot be read: "
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [("in.toml", "[mentor]\nupdate_interval = 3"), ("in.yaml", "mentor:\n  a: 3"), ("list.yaml", "- 3")],
)
def test_a_file_with_sections_or_none(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert error_of(read_config, str(tmp_path / name)) == (
        f"config file {str(tmp_path / name)!r} must hold one flat table, e.g. update_interval = 10; no sections"
    )


def test_a_run_is_changed_by_settings_and_by_groups() -> None:
    before = TrainConfig(run=RunSettings(epochs=7))
    after = before.changed(batch_size=32, mentor=MentorConfig(update_interval=5), entropy=0.5)
    assert (after.run.epochs, after.run.batch_size) == (7, 32)
    assert (after.mentor.update_interval, after.mentor.entropy) == (5, 0.5)
    assert before == TrainConfig(run=RunSettings(epochs=7))


def test_a_group_and_a_setting_of_one_name_are_told_apart() -> None:
    assert TrainConfig().changed(mentor="mentornet").mentor == MentorConfig(mentor="mentornet")


def test_a_change_of_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown setting 'epoch'; nearest valid: epochs"):
        TrainConfig().changed(epoch=1)
    with pytest.raises(UserError, match="epochs is 'ten', but it must be of type int"):
        TrainConfig().changed(epochs="ten")


def test_data_in_memory_are_no_setting_and_a_path_may_be_one() -> None:
    with pytest.raises(UserError) as refused:
        TrainConfig().changed(data=np.zeros((4, 2)))
    assert str(refused.value) == (
        "data is a ndarray, but as a setting it is a name or a path; data in memory go to CurriculumTrainer(student, "
        "data=..., meta=...)"
    )
    assert TrainConfig().changed(data=Path("photos")).data.data == "photos"


@pytest.mark.parametrize("columns", [["x" * 100] * 700, ["x.y.z"] * 2001])
def test_settings_that_could_not_be_read_back_are_not_written(columns: list[str]) -> None:
    with pytest.raises(UserError, match=r"^the settings take \d+ bytes and \d+ dots as a file, but must take at most"):
        to_toml({"epochs": 3, "feature_columns": columns, "seed": 0})
