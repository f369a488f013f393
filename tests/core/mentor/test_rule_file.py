"""A rule: what it says, by hand; and files that are none."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ray_mentor import CurriculumConfig, Rule, UserError
from ray_mentor.config import MentorConfig
from ray_mentor.core.mentor.rule import logit, quantiles
from ray_mentor.core.mentor.start import check_frozen, given_mentor, rule_of
from ray_mentor.core.methods.weightings import Ruled
from ray_mentor.core.step.features import Features
from ray_mentor.core.step.observation import Observation


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(z)))


RULE = Rule(
    "loss",
    np.array([0.0, 2.0, 4.0]),
    np.array([sigmoid([2, 0, -2]), sigmoid([4, 0, -6])]),
    np.array([0.2, 0.6]),
    np.array([0.0, 1.0]),
    made_from={"run": "first"},
)


def test_it_is_linear_in_the_logit_between_points_and_constant_beyond_them() -> None:
    by_loss = RULE([-1.0, 1.0, 3.0, 9.0], progress=0.2, labels=[0, 0, 0, 0])
    np.testing.assert_allclose(by_loss, sigmoid([2, 1, -1, -2]), rtol=1e-12)
    over_time = RULE([3.0] * 4, progress=[0.0, 0.4, 0.6, 0.99], labels=[0, 0, 0, 0])
    np.testing.assert_allclose(over_time, sigmoid([-1, -2, -3, -3]), rtol=1e-12)
    by_class = RULE([1.0, 1.0], progress=0.2, labels=[0, 1])
    np.testing.assert_allclose(by_class, sigmoid([1, 2]), rtol=1e-12)


def test_quantiles_are_of_the_batch_with_ties_at_their_mean() -> None:
    assert quantiles(np.array([5.0, 1.0, 3.0, 3.0])).tolist() == [0.875, 0.125, 0.5, 0.5]
    assert quantiles(np.array([7.0])).tolist() == [0.5]
    rule = Rule("quantile", np.array([0.0, 1.0]), sigmoid([[1, -1]]))
    np.testing.assert_allclose(rule([9.0, 8.0]), sigmoid([-0.5, 0.5]))
    by_difference = dataclasses.replace(rule, weigh_by="loss_difference")
    np.testing.assert_allclose(by_difference([9.0, 8.0], loss_differences=[0.0, 1.0]), sigmoid([1, -1]))


def test_a_file_holds_it_and_can_be_read_by_a_person(tmp_path: Path) -> None:
    file = tmp_path / "rule.json"
    file.write_text(RULE.text())
    again = Rule.read(file)
    np.testing.assert_allclose(
        again([0.5, 3.0], progress=0.5, labels=[1, 0]), RULE([0.5, 3.0], progress=0.5, labels=[1, 0]), rtol=1e-5
    )
    assert again.made_from == {"run": "first"}
    assert again.text() == RULE.text()
    assert '  "at": [0.0, 2.0, 4.0],\n' in RULE.text()
    assert again.says == "loss and progress, and given class"


def test_weights_next_to_0_and_1_are_read_as_they_were(tmp_path: Path) -> None:
    """A weighting of all or nothing, as a self-paced one, is 1e-9 from either in a table."""
    sharp = Rule("loss", np.arange(6.0), np.array([[1 - 1e-9, 1 - 1.234567e-7, 0.9999996, 0.5, 1.234567e-7, 1e-9]]))
    (tmp_path / "rule.json").write_text(sharp.text())
    again = Rule.read(tmp_path / "rule.json")
    np.testing.assert_allclose(logit(again.weights), logit(sharp.weights), atol=1e-5)
    assert again.text() == sharp.text()
    assert "0.9999996" in sharp.text()


def test_numpy_alone_reads_it(tmp_path: Path) -> None:
    (tmp_path / "rule.json").write_text(RULE.text())
    code = (
        "import sys; from ray_mentor import Rule; w = Rule.read('rule.json')([1.0], progress=.2, labels=[0]);"
        "assert not {'torch', 'pandas', 'ray', 'sklearn'} & set(sys.modules); print(round(float(w[0]), 4))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert (done.stdout, done.stderr) == ("0.7311\n", "")


GOOD = json.loads(RULE.text())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[" * 100_000,
        "[1, 2]",
        "import os",
        json.dumps({**GOOD, "what": "a mentor"}),
        json.dumps({**GOOD, "version": 2}),
        json.dumps({**GOOD, "weigh_by": "the moon"}),
        json.dumps({**GOOD, "weights": [[0.5, 0.5, 0.5]]}),
        json.dumps({**GOOD, "weights": [[0.5, 0.5, 0.5], [0.5, 0.5]]}),
        json.dumps({**GOOD, "weights": [[0.5, 0.5, 0.5], [0.5, 0.5, 1.5]]}),
        json.dumps({**GOOD, "weights": [[0.5, 0.5, 0.5], [0.5, 0.5, float("nan")]]}),
        json.dumps({**GOOD, "weights": [[0.5, 0.5, 0.5], [0.5, 0.5, "0.5"]]}),
        json.dumps({**GOOD, "weights": 0.5}),
        json.dumps({**GOOD, "at": [0.0, 4.0, 2.0]}),
        json.dumps({**GOOD, "at": [0.0, 2.0, 1e999]}),
        json.dumps({**GOOD, "at": []}),
        json.dumps({**GOOD, "at": [0.0, 2.0, True]}),
        json.dumps({**GOOD, "progress": [0.2, 7.0]}),
        json.dumps({**GOOD, "progress": [0.6, 0.2]}),
        json.dumps({**GOOD, "in_nats": "yes"}),
        json.dumps({**GOOD, "made_from": []}),
        json.dumps({**GOOD, "class_shift": [0.0] * 20_000}),
        json.dumps({name: value for name, value in GOOD.items() if name != "at"}),
        " " * (1 << 20) + RULE.text(),
        b"\xff\xfe\x00",
    ],
)
def test_anything_else_is_refused(content: str | bytes, tmp_path: Path) -> None:
    file = tmp_path / "rule.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"rule\.json is no rule \(.*\); give a file that ray-mentor distill wrote$"):
        Rule.read(file)


def test_no_file_is_named_or_there() -> None:
    with pytest.raises(UserError, match="is no file; give one that ray-mentor distill wrote"):
        Rule.read("x" * 5000)
    with pytest.raises(UserError, match=r"^method is 'rule', but it weighs by a file; give --method rule:FILE"):
        rule_of(CurriculumConfig("rule"))
    with pytest.raises(
        UserError, match=r"^the rule '/nowhere\.json' is no file; give one that ray-mentor distill wrote$"
    ):
        rule_of(CurriculumConfig("rule:/nowhere.json"))


def test_what_it_would_not_know(tmp_path: Path) -> None:
    file = tmp_path / "rule.json"
    file.write_text(RULE.text())
    named = CurriculumConfig(f"rule:{file}")
    check_frozen(named, MentorConfig(), 2, in_nats=True)
    check_frozen(named, MentorConfig(), None, in_nats=True)
    with pytest.raises(UserError, match="a rule for 2 classes, but there are 3; they must be the same"):
        check_frozen(named, MentorConfig(), 3, in_nats=True)
    with pytest.raises(UserError, match="whose losses are in nats, but those of this run are in units of their own"):
        check_frozen(named, MentorConfig(), 2, in_nats=False)
    with pytest.raises(UserError, match="labels hold 5, but this rule knows classes 0 to 1"):
        RULE([1.0], progress=0.5, labels=[5])
    with pytest.raises(UserError, match="labels is None, but this rule has a class table"):
        RULE([1.0], progress=0.5)
    with pytest.raises(UserError, match="loss_differences is None, but this rule weighs by them"):
        dataclasses.replace(RULE, weigh_by="loss_difference")([1.0], labels=[0])


def test_a_changed_file_is_another_mentor_to_a_resume(tmp_path: Path) -> None:
    file = tmp_path / "rule.json"
    digests = []
    for rule in (RULE, dataclasses.replace(RULE, at=RULE.at + 1)):
        file.write_text(rule.text())
        digests.append(given_mentor(MentorConfig(), CurriculumConfig(f"rule:{file}")))
    assert digests[0] != digests[1]
    assert given_mentor(MentorConfig(), CurriculumConfig("uniform")) is None


def test_trusted_samples_are_not_asked_of_nor_counted_in_quantiles() -> None:
    rule = Rule("quantile", np.array([0.0, 1.0]), sigmoid([[1, -1]]))
    loss = torch.tensor([3.0, 0.1, 1.0, 0.2])
    zero = torch.zeros(4)
    features = Features(loss, loss, zero.long(), zero, zero[:, None], torch.tensor([False, True, False, True]))
    seen = Observation(None, loss, features, torch.arange(4), None, (4,), slice(0, 4))  # type: ignore[arg-type]
    found = Ruled(rule)(seen).numpy()
    np.testing.assert_allclose(found[[0, 2]], sigmoid([-0.5, 0.5]), rtol=1e-6)
    assert found[[1, 3]].tolist() == [1, 1]
