"""Weightings: features to sample weights."""

from __future__ import annotations

from ray_mentor.core.methods.weightings.base import AbstractWeighting
from ray_mentor.core.methods.weightings.focal import FocalWeights
from ray_mentor.core.methods.weightings.frozen import Frozen, Ruled
from ray_mentor.core.methods.weightings.group_dro import GroupDRO
from ray_mentor.core.methods.weightings.hard_mining import HardMining
from ray_mentor.core.methods.weightings.l2rw import LearningToReweight
from ray_mentor.core.methods.weightings.learned import Learned
from ray_mentor.core.methods.weightings.oracle import Oracle
from ray_mentor.core.methods.weightings.predefined import Predefined
from ray_mentor.core.methods.weightings.published import Published
from ray_mentor.core.methods.weightings.self_paced import PACES, SelfPaced
from ray_mentor.core.methods.weightings.spcl import LinearSPCL
from ray_mentor.core.methods.weightings.taught import Taught
from ray_mentor.core.methods.weightings.uniform import Uniform

__all__ = [
    "PACES",
    "AbstractWeighting",
    "FocalWeights",
    "Frozen",
    "GroupDRO",
    "HardMining",
    "Learned",
    "LearningToReweight",
    "LinearSPCL",
    "Oracle",
    "Predefined",
    "Published",
    "Ruled",
    "SelfPaced",
    "Taught",
    "Uniform",
]
