"""What a student draws follows from the seed of its step."""

from __future__ import annotations

import torch

from ray_mentor.core.student.random_state import seed_generators


def test_a_student_on_a_cpu_draws_what_it_drew_after_pytorchs_own_call() -> None:
    torch.manual_seed(2**63 - 25)
    expected = torch.rand(3), torch.randperm(9)
    torch.manual_seed(0)
    seed_generators(2**63 - 25, torch.device("cpu"))
    assert torch.equal(torch.rand(3), expected[0])
    assert torch.equal(torch.randperm(9), expected[1])
