#!/usr/bin/env bash
# Starts: one run as a Slurm job, by `sbatch cluster/slurm.sh`: a Ray over 2 whole nodes with one GPU each, for this job
#   alone. A requeued job goes on from its newest checkpoint.
# Costs: 2 node-hours an hour of your allocation; what one costs in USD, if anything, the site says, to be checked.
# Stop: scancel JOBID
# Fill in: <YOUR-PARTITION>, <YOUR-VENV> (a virtual environment with this project in it, in a folder that all nodes
#   see), <YOUR-RESULTS> (a folder for results, which all nodes see).
#SBATCH --job-name=ray-mentor
#SBATCH --partition=<YOUR-PARTITION>
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --exclusive
#SBATCH --no-kill
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --time=04:00:00

set -euo pipefail
umask 077

venv="<YOUR-VENV>"
results="<YOUR-RESULTS>"
name="slurm-$SLURM_JOB_ID"

# shellcheck disable=SC1091 # the environment is there on the nodes alone
source "$venv/bin/activate"
mkdir -p "$results"

# a token for this job alone, which only its owner can read
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export RAY_AUTH_TOKEN_PATH="$results/.token-$SLURM_JOB_ID"
python -c 'import secrets; print(secrets.token_hex(32), end="")' > "$RAY_AUTH_TOKEN_PATH"
export RAY_TMPDIR="/tmp/ray-mentor-$SLURM_JOB_ID"  # /tmp/ray may be another user's
trap 'rm -f "$RAY_AUTH_TOKEN_PATH"' EXIT

# This script runs on the job's first node, which is the head. Of several networks, its first one's address is taken.
addresses=$(hostname --all-ip-addresses)
address="${addresses%% *}:$((20000 + SLURM_JOB_ID % 10000))"

# --no-kill: the run goes on when a node other than the first is lost
srun --no-kill ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus="$SLURM_CPUS_PER_TASK" -- env RAY_ADDRESS="$address" \
  python -m ray_mentor train --gpu --workers "$SLURM_JOB_NUM_NODES" --min-workers 1 \
  --storage-path "$results" --run-name "$name" --resume-or-start
