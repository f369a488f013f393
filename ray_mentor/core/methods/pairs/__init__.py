"""Two students: what each learns from is found out by the other."""

from __future__ import annotations

from ray_mentor.core.methods.pairs.co_divide import CoDivide
from ray_mentor.core.methods.pairs.co_teaching import CoTeaching
from ray_mentor.core.methods.pairs.dividemix import DivideMix
from ray_mentor.core.methods.pairs.refusals import check_can_be_relabelled, check_goes_with_two

__all__ = ["CoDivide", "CoTeaching", "DivideMix", "check_can_be_relabelled", "check_goes_with_two"]
