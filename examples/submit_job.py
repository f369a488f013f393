"""Submits a run or a sweep to a Ray cluster from Python, and shows its log; exit code 0 if it ended well.

    python examples/submit_job.py --address http://127.0.0.1:8265 train --epochs 5 --storage-path /shared/runs

Ctrl-C ends what shows the log; the job goes on, and what is printed says how to stop it.

The token is taken as `ray job submit` does: RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH where it is not in its place.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
from pathlib import Path

from ray.job_submission import JobStatus, JobSubmissionClient

CHECKOUT = Path(__file__).parents[1]


def submit(client: JobSubmissionClient, words: list[str]) -> str:
    """Uploads the checkout, starts ``python -m ray_mentor WORDS`` on the cluster's head, and returns the job's name."""
    entrypoint = shlex.join(["python", "-m", "ray_mentor", *words])
    return str(client.submit_job(entrypoint=entrypoint, runtime_env={"working_dir": str(CHECKOUT)}))


async def follow(client: JobSubmissionClient, job: str) -> JobStatus:
    """Prints the job's log until it has ended; ``client.stop_job(job)`` from elsewhere ends it."""
    async for lines in client.tail_job_logs(job):
        print(lines, end="", flush=True)
    while not (status := client.get_job_status(job)).is_terminal():
        await asyncio.sleep(0.5)
    return status


def main() -> int:
    """Does so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True, help="of the cluster's dashboard")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="train or tune, and its options")
    given = parser.parse_args()
    client = JobSubmissionClient(given.address)
    job = submit(client, given.words)
    try:
        status = asyncio.run(follow(client, job))
    except KeyboardInterrupt:
        print(f"\nthe job goes on; this ends it: ray job stop --address {given.address} {job}", file=sys.stderr)
        return 1
    print(f"{job}: {status}")
    return 0 if status == JobStatus.SUCCEEDED else 1


if __name__ == "__main__":
    sys.exit(main())
