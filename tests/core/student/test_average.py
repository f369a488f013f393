"""A student's exponential average, by hand; and that it leaves no trace."""

from __future__ import annotations

import torch
from torch import nn

from ray_mentor.core.student.average import Average


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()


def trained(student: nn.Module, steps: int, average: Average | None = None) -> list[dict[str, torch.Tensor]]:
    optimizer, states = torch.optim.SGD(student.parameters(), 0.3), []
    draw = torch.Generator().manual_seed(1)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        student(torch.randn(6, 3, generator=draw, dtype=torch.float64)).square().sum().backward()
        optimizer.step()
        if average is not None:
            average.update(student, step)
        states.append({name: value.clone() for name, value in student.state_dict().items()})
    return states


def test_it_is_the_formulas() -> None:
    student = net()
    expected = {name: value.clone() for name, value in student.state_dict().items()}
    average = Average(student, 0.3)
    for step, state in enumerate(trained(student, 8, average), 1):
        decay = min(0.3, (1 + step) / (10 + step))
        for name, value in state.items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value
    assert min(0.3, 2 / 11) != min(0.3, 9 / 18) == 0.3, "both sides of the bound are tested"
    for name, value in expected.items():
        if value.is_floating_point():
            torch.testing.assert_close(average.values[name], value, rtol=1e-12, atol=1e-12)
    assert int(average.values["1.num_batches_tracked"]) == 8


def test_the_student_is_afterwards_as_it_was() -> None:
    student = net()
    average = Average(student, 0.9)
    trained(student, 5, average)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    held = [id(param) for param in student.parameters()]
    with average.in_place_of(student):
        assert torch.equal(student[0].weight, average.values["0.weight"])
        assert not torch.equal(student[0].weight, before["0.weight"])
        student[1].running_mean.fill_(7)
    assert [id(param) for param in student.parameters()] == held
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert not (average.values["1.running_mean"] == 7).any()


def test_it_goes_on_from_a_state() -> None:
    student = net()
    whole, first = Average(student, 0.9), Average(student, 0.9)
    states = trained(student, 6)
    for step, state in enumerate(states, 1):
        student.load_state_dict(state)
        whole.update(student, step)
        if step <= 3:
            first.update(student, step)
    again = Average(student, 0.9)
    again.load(first.values)
    for step, state in enumerate(states[3:], 4):
        student.load_state_dict(state)
        again.update(student, step)
    assert all(torch.equal(value, whole.values[name]) for name, value in again.values.items())
