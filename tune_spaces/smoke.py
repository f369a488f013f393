"""Does a sweep work at all?"""

from __future__ import annotations

from typing import Any

from ray import tune

OBJECTIVE = "accuracy"
TRIALS = 2


def space() -> dict[str, Any]:
    """Asks nothing: a sweep of two trials, to see one from its start to its end.

    - ``update_interval``: student steps between two meta updates.
    - ``mentor_learning_rate``: of the mentor, per student step.

    Leaves everything else alone.
    """
    return {"update_interval": tune.choice([5, 10, 20]), "mentor_learning_rate": tune.loguniform(2e-4, 2e-3)}
