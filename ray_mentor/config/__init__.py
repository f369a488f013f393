"""Settings: what they are, how they are read, and which fit together."""

from ray_mentor.config.groups.curriculum import MIXINGS, CurriculumConfig, parse_schedule
from ray_mentor.config.groups.data import BACKENDS, DataConfig, parse_noise
from ray_mentor.config.groups.learned import LearnConfig
from ray_mentor.config.groups.mentor import FEATURES, MentorConfig
from ray_mentor.config.groups.mixture import MixtureConfig
from ray_mentor.config.groups.run import RunSettings
from ray_mentor.config.groups.student import StudentConfig
from ray_mentor.config.settings import GROUPS, TrainConfig, check_names, names_of, values_of

__all__ = [
    "BACKENDS",
    "CurriculumConfig",
    "DataConfig",
    "FEATURES",
    "GROUPS",
    "MIXINGS",
    "MentorConfig",
    "LearnConfig",
    "MixtureConfig",
    "RunSettings",
    "StudentConfig",
    "TrainConfig",
    "check_names",
    "names_of",
    "parse_noise",
    "parse_schedule",
    "values_of",
]
