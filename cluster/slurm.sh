#!/usr/bin/env bash
# Starts: one run as a Slurm job, by `sbatch cluster/slurm.sh`: a Ray over 2 whole nodes with one GPU each, for this job
#   alone. Lost nodes, preemption and the end of its time put it back into the queue, from where it goes on from its
#   newest checkpoint, as often as it takes.
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
#SBATCH --signal=B:USR1@120
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

# A token for this job alone. It lies in no file: who else is on the nodes cannot read a process's environment.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN
export RAY_TMPDIR="/tmp/ray-mentor-$SLURM_JOB_ID"  # /tmp/ray may be another user's

# This script runs on the job's first node, which is the head. Of several networks, its first one's address is taken.
addresses=$(hostname --all-ip-addresses)
address="${addresses%% *}:$((20000 + SLURM_JOB_ID % 10000))"

# On each node: what a try or a job of yours that was killed has left goes before, and Ray's files when Ray has ended,
# however it ends. Nobody else can enter the folder: Ray lets all users write to what is in it.
# shellcheck disable=SC2329 # handed on by `declare`
on_each_node() {
  trap : TERM
  rm -rf "$RAY_TMPDIR"
  if jobs=$(squeue --noheader --user="$(id -u)" --format=%A); then  # else nobody knows which are alive
    for left in "${RAY_TMPDIR%-*}"-*; do
      [ ! -O "$left" ] || grep --quiet --line-regexp -- "${left##*-}" <<< "$jobs" || rm -rf "$left"
    done
  fi
  mkdir -m 700 "$RAY_TMPDIR" || exit 1
  code=0
  "$@" || code=$?
  ray stop > /dev/null
  rm -rf "$RAY_TMPDIR"
  exit "$code"
}

# Two minutes before its time is up Slurm sends this script USR1. (Not TERM, which is what scancel sends.) The run is
# stopped, by TERM to its own process, whose number is in a file on this node, and the job put back into the queue, which
# Slurm does by itself after preemption and lost nodes alone.
# shellcheck disable=SC2016 # expanded by the shell that becomes the run
numbered='echo "$$" > "$RAY_TMPDIR/run.pid"; exec "$@"'
is_up=""
trap 'is_up=yes; [ ! -e "$RAY_TMPDIR/run.pid" ] || kill -TERM "$(< "$RAY_TMPDIR/run.pid")" || true' USR1

# --no-kill: the run goes on when a node other than the first is lost
srun --no-kill bash -c "$(declare -f on_each_node); on_each_node "'"$@"' on_each_node \
  ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus="$SLURM_CPUS_PER_TASK" -- env RAY_ADDRESS="$address" \
  bash -c "$numbered" numbered python -m ray_mentor train --gpu --workers "$SLURM_JOB_NUM_NODES" --min-workers 1 \
  --storage-path "$results" --run-name "$name" --resume-or-start &
run=$!

code=0
wait "$run" || code=$?  # a signal ends this, and not what it waits for
if [ -n "$is_up" ]; then
  for _ in {1..90}; do
    kill -0 "$run" 2> /dev/null || break
    sleep 1
  done
  [ -e "$results/$name/result.json" ] || exec scontrol requeue "$SLURM_JOB_ID"
  code=0
fi
exit "$code"
