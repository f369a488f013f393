"""Which mentor, and what should it see?"""

from __future__ import annotations

from typing import Any

from ray import tune

OBJECTIVE = "accuracy"


def space() -> dict[str, Any]:
    """Asks how large a mentor has to be, and which features of a sample it needs.

    - ``mentor``: an mlp, or the published network (mentornet).
    - ``mentor_width``, ``mentor_depth``: of the mlp's hidden layers; of depth 0 the mentor is linear.
    - ``mentor_embedding``: widths of the mentornet's embeddings of label and percent; first its own, then that of the
      public checkpoint. (The mlp's first layer is its embedding of the label.)
    - ``mentor_features``: what is seen. With label the mentor is class-aware; with history it sees how the loss of a
      sample went. A mentornet sees loss, loss difference and progress in any case, and can be given the label alone.
    - ``history_length``: past losses in the history.

    Leaves alone how and how often the mentor learns, the schedule around it, student and data.
    """
    return {
        "mentor": tune.choice(["mlp", "mentornet"]),
        "mentor_width": tune.lograndint(8, 257),
        "mentor_depth": tune.randint(0, 4),
        "mentor_embedding": tune.choice(["2+5", "5+10", "8+20"]),
        "mentor_features": tune.choice(
            [
                "loss",
                "loss+loss_difference",
                "loss+loss_difference+progress",
                "loss+loss_difference+label",
                "loss+loss_difference+label+progress",
                "loss+loss_difference+history",
                "loss+loss_difference+label+history",
            ]
        ),
        "history_length": tune.randint(1, 6),
    }
