"""All of it at once: mentor, how it learns, and the curriculum around it."""

from __future__ import annotations

from typing import Any

from ray import tune

from tune_spaces import curriculum, mentor_architecture, update_frequency

OBJECTIVE = "gap-per-cost"


def space() -> dict[str, Any]:
    """Asks for the best settings of everything that the other studies vary, what they gain weighed against their cost.

    - What the mentor is and sees: ``mentor``, ``mentor_width``, ``mentor_depth``, ``mentor_embedding``,
      ``mentor_features``, ``history_length``.
    - How it learns: ``update_interval``, ``meta_batch_size``, ``influence_samples``, ``estimator``, ``burn_in``,
      ``mentor_learning_rate``.
    - The curriculum: ``method``, ``loss_percentile``, ``example_dropout``, ``normalisation``, ``anchor``, ``entropy``.
      The method is mentornet or self-paced: uniform is what both are measured by.

    Where one choice makes another meaningless (self-paced has no mentor, a mentornet no width), that one keeps its
    default. Leaves alone student and data.
    """
    return {
        **mentor_architecture.space(),
        **update_frequency.space(),
        **curriculum.space(),
        "method": tune.choice(["mentornet", "self-paced"]),
    }
