"""How seldom, and from how little, may the mentor learn?"""

from __future__ import annotations

from typing import Any

from ray import tune

OBJECTIVE = "gap-per-cost"


def space() -> dict[str, Any]:
    """Asks how little of the mentor's learning is enough: what it gains over equal sample weights, for what it costs.

    - ``update_interval``: student steps between two meta updates.
    - ``meta_batch_size``: trusted samples per update.
    - ``influence_samples``: samples of a batch whose influence is computed; 0 for all. Fewer are exact only for
      students without batch norm.
    - ``estimator``: how influences are computed: exactly (jvp), by two plain forwards (finite_difference), or of the
      last layer alone.
    - ``burn_in``: share of training before the mentor is asked at all.
    - ``mentor_learning_rate``: a mentor that learns seldom may have to learn faster.

    Leaves alone what the mentor is and sees, the schedule after burn-in, student and data.
    """
    return {
        "update_interval": tune.lograndint(1, 51),
        "meta_batch_size": tune.choice([20, 50, 100]),
        "influence_samples": tune.choice([0, 16, 32, 64]),
        "estimator": tune.choice(["jvp", "finite_difference", "last_layer"]),
        "burn_in": tune.quniform(0.0, 0.4, 0.05),
        "mentor_learning_rate": tune.loguniform(1e-4, 1e-2),
    }
