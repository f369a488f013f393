"""The page on Ray's own ways is one script; it runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs_files import DOCS, ROOT, python_blocks


@pytest.mark.ray
@pytest.mark.slow
def test_the_script_of_the_page(tmp_path: Path) -> None:
    script = tmp_path / "rays_own.py"
    script.write_text("\n".join(python_blocks(DOCS / "rays-own.md")))
    around = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    around["HOME"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=around, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.strip()]  # Tune says much, and much of it is empty
    (reported,) = [
        line for line in lines if re.fullmatch(r"0\.\d+ Checkpoint\(filesystem=local, path=.*/student\)", line)
    ]
    best, more = lines[-2:]
    assert best in ("{'learning_rate': 0.02}", "{'learning_rate': 0.08}")
    assert float(more) > float(reported.split()[0]) - 0.1, "it begins where the other ended"
