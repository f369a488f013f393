"""Which curriculum: a learned one or one that is given, and how strict?"""

from __future__ import annotations

from typing import Any

from ray import tune

OBJECTIVE = "accuracy"


def space() -> dict[str, Any]:
    """Asks whether a learned curriculum is better than the given ones, and how hard it should tell samples apart.

    - ``method``: mentornet learns its curriculum; self-paced trains on samples of small loss; uniform on all alike.
      (The others need true labels or a file.)
    - ``loss_percentile``: of the batch losses, which the loss difference is measured from: the share of samples that
      self-paced trains on.
    - ``example_dropout``: none, the published schedule, or a fifth of each batch throughout.
    - ``normalisation``: sample weights over their sum, so that small ones don't mean small steps, or over the batch's
      size.
    - ``anchor``: the sample weight that the upper quartile of a batch is held at under sum; 0 leaves the scale free.
    - ``entropy``: pull towards equal sample weights.

    Leaves alone what the mentor is and sees, how often it learns, burn-in, student and data.
    """
    return {
        "method": tune.choice(["mentornet", "self-paced", "uniform"]),
        "loss_percentile": tune.quniform(0.3, 0.9, 0.05),
        "example_dropout": tune.choice(["", "0.5:0.17,0.05:0.83", "0.2:1"]),
        "normalisation": tune.choice(["sum", "batch"]),
        "anchor": tune.choice([0.0, 0.5, 0.7, 0.9, 0.97]),
        "entropy": tune.loguniform(0.03, 3.0),
    }
