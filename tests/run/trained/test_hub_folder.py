"""A trained student of Hugging Face's: ``from_pretrained`` opens the folder, and a pipeline says what predict says."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from trained_students import CLASSES, image_samples, images, left_by, seeded

from ray_mentor import Student
from ray_mentor.errors import UserError
from ray_mentor.students import make_student, source_of

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.long  # their package takes seconds to load
PIXELS = images((16, 16, 3))
SAMPLES = image_samples(PIXELS)


@pytest.fixture
def run(tmp_path: Path) -> str:
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=8
    )
    config.save_pretrained(tmp_path / "vit")
    name = f"hf:{tmp_path}/vit"
    build = functools.partial(make_student, name, (3, 16, 16), 3, source=source_of(name))
    run = left_by(tmp_path / "run", SAMPLES, build, seeded(build))
    (tmp_path / "vit/config.json").unlink()
    (tmp_path / "vit").rmdir()  # what it was made of is needed no more
    return run


def test_from_pretrained_and_a_pipeline_take_the_folder(run: str) -> None:
    expected = Student.from_run(run).predict(PIXELS)
    assert np.ptp(expected, axis=0).max() > 1e-4
    folder = f"{run}/student"
    model = transformers.AutoModelForImageClassification.from_pretrained(folder)
    assert tuple(model.config.id2label.values()) == CLASSES
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        fed = processor([Image.fromarray(image) for image in PIXELS], return_tensors="pt")
        probabilities = torch.softmax(model.eval()(**fed).logits, dim=1).numpy()
    assert probabilities == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"model_type": "vit", "hidden_size": "x"}', '{"model_type": "nothing"}']
)
def test_a_damaged_config_is_said(run: str, text: str) -> None:
    Path(run, "student/config.json").write_text(text)
    with pytest.raises(UserError, match=r"can't be built|is of another student|unknown student"):
        Student.from_run(run)


def test_a_config_of_another_folder_runs_no_code(run: str) -> None:
    file = Path(run, "student/config.json")
    config = json.loads(file.read_text())
    config["auto_map"] = {"AutoModelForImageClassification": "evil.py--Evil"}
    file.write_text(json.dumps(config))
    Path(run, "student/evil.py").write_text("raise SystemExit('code of a folder was run')\n")
    assert Student.from_run(run).predict(PIXELS).shape == (7, 3)
