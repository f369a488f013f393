#!/usr/bin/env bash
# On a machine with a GPU, after `make run` or `make bench` once: what a meta step costs there, and whether the core
# is exact there. Further arguments go to the benchmark, e.g. --student cnn --rounds 20.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
$bin/python -c 'import sys, torch; sys.exit(None if torch.cuda.is_available() else "PyTorch sees no GPU here")'
$bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench,dev]'
$bin/pytest tests/contract -k cuda
$bin/python benchmarks/meta_step.py --device cuda --rounds 20 --csv meta_step_gpu.csv "$@"
