"""Runs in which processes are killed or fall asleep at random: ``python tests/faults/chaos.py --runs 20``.

Each run trains two workers, and one to three times, at random moments, a student worker, the mentor or the driver is
killed with SIGKILL; a killed driver is started again with --resume. Every fourth run draws from several sources, whose
shares are learnt. Every fourth run then falls asleep, all its processes at once, as on a machine that is suspended or
cut off; it is resumed on another Ray, and when it has ended there, the sleepers wake up. All of them have to end with
what a run that nothing befell ends with, bit for bit, and, but for those of several sources, with a row of the ledger
a sample and epoch.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

sys.path.extend(str(Path(__file__).parents[1] / "support" / part) for part in ("", "core", "data", "on_ray"))

import psutil
import ray
from driver import A_LONG_TIME, Driver, kill
from small_runs import assert_one_row_per_sample_and_epoch, assert_same_run, make_small_splits, outcome_of

from ray_mentor.run.outcome import Outcome

VICTIMS = ("RayTrainWorker", "MentorActor", "driver")
SLEEPERS = ("RayTrainWorker", "MentorActor", "TrainController")
STEP_SECONDS = 0.15

Found = TypeVar("Found")


@dataclass(frozen=True)
class Kill:
    """Who is killed, and how many seconds after training has begun (again)."""

    victim: str
    after: float


def plan(seed: int) -> list[Kill]:
    draw = random.Random(seed)
    return [Kill(draw.choice(VICTIMS), draw.uniform(0.0, 1.5)) for _ in range(draw.randint(1, 3))]


def falls_asleep(seed: int) -> bool:
    return seed % 4 == 3


def is_mixed(seed: int) -> bool:
    """Whether samples come from several sources."""
    return seed % 4 == 1


def chaotic_run(seed: int, storage: Path) -> tuple[Path, list[str]]:
    """Runs to the end; returns the run directory and what befell it. Needs a Ray in this process."""
    name, befell = f"chaos-{seed}", []
    draw = random.Random(seed)
    kills = plan(seed)
    driver, starts = start(storage, name, mixed=is_mixed(seed)), 1
    try:
        for one in kills:
            wait_for_training(driver, starts)
            time.sleep(one.after)
            alive = wait_for_victims(driver, one.victim)
            if not alive:
                break
            befell.append(f"{one.victim} after {one.after:.2f} s")
            kill(draw.choice(alive))
            if one.victim == "driver":
                driver.wait()
                driver, starts = start(storage, name, mixed=is_mixed(seed)), 1
            starts += one.victim == "RayTrainWorker"
        if falls_asleep(seed):
            wait_for_training(driver, starts)
            after = draw.uniform(0.0, 1.5)
            time.sleep(after)
            if driver.process.poll() is None:
                befell.append(f"all asleep after {after:.2f} s")
                sleep_while_another_finishes(driver, storage, name)
                return storage / name, befell
        code = driver.wait()
        assert code == 0, driver.log.read_text()
    finally:
        driver.end()
    return storage / name, befell


def sleep_while_another_finishes(driver: Driver, storage: Path, name: str) -> None:
    """Stops the run's processes, resumes it on a Ray of its own, and lets them go on: they add nothing."""
    sleepers = [*victims(driver, "driver"), *(process for kind in SLEEPERS for process in victims(driver, kind))]
    for process in sleepers:
        kill(process, signal.SIGSTOP)
    elsewhere = Driver(storage, name, workers=2, checkpoint_steps=3)
    try:
        assert elsewhere.wait() == 0, elsewhere.log.read_text()
        before = files_of(storage / name)
        for process in sleepers:
            kill(process, signal.SIGCONT)
        assert driver.wait() != 0, driver.log.read_text()
        assert files_of(storage / name) == before
    finally:
        elsewhere.end()
        for process in sleepers:
            kill(process, signal.SIGCONT)


def files_of(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def start(storage: Path, name: str, *, mixed: bool = False) -> Driver:
    address = {"RAY_ADDRESS": ray.get_runtime_context().gcs_address, "RAY_AUTH_MODE": "token"}
    return Driver(storage, name, address, workers=2, checkpoint_steps=2, slow=STEP_SECONDS, mixed=mixed)


def wait_for_training(driver: Driver, starts: int) -> None:
    """Until the workers have begun so many times."""
    wait_for(driver, lambda: len(driver.rows("started")) >= starts)


def wait_for_victims(driver: Driver, kind: str) -> list[psutil.Process]:
    """Those that can be killed: a mentor that was killed a moment ago has yet to come back. Empty if the run ended."""
    return wait_for(driver, lambda: victims(driver, kind)) or []


def wait_for(driver: Driver, look: Callable[[], Found], seconds: float = A_LONG_TIME) -> Found | None:
    """What ``look`` finds, once it finds something; None if the run has ended."""
    deadline = time.monotonic() + seconds
    while driver.process.poll() is None:
        if found := look():
            return found
        assert time.monotonic() < deadline, driver.log.read_text()
        time.sleep(0.05)
    return None


def victims(driver: Driver, kind: str) -> list[psutil.Process]:
    """The driver, or the processes of this Ray's actors of a class."""
    if kind == "driver":
        return [psutil.Process(driver.process.pid)]
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if f"ray::{kind}" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def calm(storage: Path, name: str, *, mixed: bool) -> Path:
    """The folder of a run that nothing befalls."""
    driver = Driver(storage, name, {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}, workers=2, mixed=mixed)
    assert driver.wait() == 0, driver.log.read_text()
    return driver.run


def check(run: Path, undisturbed: Outcome) -> None:
    assert_same_run(outcome_of(run), undisturbed)
    mixture = Path(undisturbed.path) / "mixture.csv"
    if mixture.exists():
        assert (run / "mixture.csv").read_text() == mixture.read_text()
        return
    assert_one_row_per_sample_and_epoch(outcome_of(run).ledger(), make_small_splits())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    storage = Path(tempfile.mkdtemp())
    ray.init("local", num_cpus=2, dashboard_host="127.0.0.1", configure_logging=False, log_to_driver=False)
    undisturbed = [calm(storage, f"undisturbed-{mixed:d}", mixed=mixed) for mixed in (False, True)]
    same, kills = 0, 0
    for seed in range(options.first_seed, options.first_seed + options.runs):
        began = time.monotonic()
        run, befell = chaotic_run(seed, storage)
        kills += len(befell)
        try:
            check(run, outcome_of(undisturbed[is_mixed(seed)]))
            same += 1
            verdict = "same"
        except AssertionError as error:
            verdict = f"DIFFERS: {error}"
        print(f"seed {seed}: {verdict}, {time.monotonic() - began:.0f} s; befell: {', '.join(befell)}", flush=True)
    print(f"{same} of {options.runs} runs ended with the undisturbed result; {kills} accidents")
    sys.exit(same != options.runs)


if __name__ == "__main__":
    main()
