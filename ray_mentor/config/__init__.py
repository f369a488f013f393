"""Settings: what they are, how they are read, and which fit together."""

from ray_mentor.config.settings import (
    BACKENDS,
    FEATURES,
    GROUPS,
    MIXINGS,
    CurriculumConfig,
    DataConfig,
    MentorConfig,
    RunSettings,
    StudentConfig,
    TrainConfig,
    check_names,
    names_of,
    parse_noise,
    parse_schedule,
    values_of,
)

__all__ = [
    "BACKENDS",
    "CurriculumConfig",
    "DataConfig",
    "FEATURES",
    "GROUPS",
    "MIXINGS",
    "MentorConfig",
    "RunSettings",
    "StudentConfig",
    "TrainConfig",
    "check_names",
    "names_of",
    "parse_noise",
    "parse_schedule",
    "values_of",
]
