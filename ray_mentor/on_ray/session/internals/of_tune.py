"""Of Ray Tune."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import PopulationBasedTraining


class Population(PopulationBasedTraining):
    """Population based training whose trials may be suggested, and keep one entry of their settings for themselves.

    Ray's refuses any searcher, since the settings that it changes are not those that were suggested; to random draws
    that is all one. Ray's own subclass overrides what the settings of a trial become, too.

    Args:
        own: name of the entry.
    """

    def __init__(self, own: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._own = own

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        without_searcher: Any = SimpleNamespace(search_alg=None)
        super().on_trial_add(without_searcher, trial)

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        config, operations = super()._get_new_config(trial, trial_to_clone)
        return {**config, self._own: trial.config[self._own]}, operations

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The trial that is behind, as Ray's; Ray's chooses none where all wait for one that has ended meanwhile.

        All that wait then meet where they are, and go on.
        """
        live = list(tune_controller.get_live_trials())
        chosen = super().choose_trial_to_run(tune_controller)
        if chosen is not None or not live or any(trial.status != Trial.PAUSED for trial in live):
            return chosen
        states = [self._trial_state[trial] for trial in live]
        self.on_trial_result(tune_controller, live[0], states[0].last_result)  # type: ignore[arg-type]
        furthest = max(state.last_train_time for state in states)
        self._next_perturbation_sync = max(self._next_perturbation_sync, furthest + self._perturbation_interval)
        return super().choose_trial_to_run(tune_controller)
