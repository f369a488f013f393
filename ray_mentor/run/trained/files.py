"""Where the trained student lies in a run's folder."""

FOLDER = "student"

ABOUT = f"{FOLDER}/student.json"
"""How it is built, its classes, and what it is fed (:mod:`~ray_mentor.run.trained.about`)."""

MODEL = f"{FOLDER}/model.safetensors"
"""Params and buffers of the student that is kept (:mod:`~ray_mentor.run.checkpoint.kept`)."""

LAST = f"{FOLDER}/last.safetensors"
"""Those of the last epoch's, where an earlier one's is kept."""

AVERAGE = f"{FOLDER}/average.safetensors"
"""Those of the student's exponential average at the end of the last epoch, where one is kept."""

TRAINED_ON = f"{FOLDER}/trained_on.u64"
"""Fingerprints of the samples that it was trained on (:mod:`~ray_mentor.run.trained.trained_on`)."""

CONFIG = f"{FOLDER}/config.json"
"""Of a student of Hugging Face's: what it is made of, in their words."""

PROCESSOR = f"{FOLDER}/preprocessor_config.json"
"""Of one of images: how pixels become what it is fed, in their words."""
