"""What a comparison advises, and that it claims no more than the seeds show."""

from __future__ import annotations

import pytest
from compared_runs import failed, runs
from scipy import stats

from ray_mentor.run.over_seeds.advice import advice_of

SECONDS = {"gce": 10.0, "mixup": 11.0, "mentornet": 20.0, "uniform": 9.0, "oracle": 1.0}


def test_shown_to_be_better_than_the_cheapest_within_reach() -> None:
    accuracies = {"gce": (0.90, 0.91, 0.92), "mixup": (0.905, 0.915, 0.92), "mentornet": (0.915, 0.926, 0.934),
                  "uniform": (0.7, 0.7, 0.7), "oracle": (0.99, 0.99, 0.99)}  # fmt: skip
    found = advice_of(runs(accuracies, SECONDS), "test_accuracy")
    assert (found["best"], found["than"], found["why"]) == ("mentornet", "gce", "within reach")
    differences = [0.015, 0.016, 0.014]
    interval = stats.t.interval(0.95, 2, 0.015, stats.sem(differences))
    assert (found["difference"]["low"], found["difference"]["high"]) == pytest.approx(interval)
    assert found["verdict"] == "better"
    assert found["seconds_ratio"] == 2.0
    assert found["text"] == (
        "mentornet has the highest test accuracy, 0.925, and is shown to be better than gce, the cheapest within 2 "
        "points: 1.5 points ahead of gce (0.910) over 3 seeds, 95 % interval 1.3 to 1.7. It takes 2.00 times the "
        "training time of gce (20.0 s against 10.0 s)."
    )


def test_what_is_not_shown_is_not_advised() -> None:
    accuracies = {"gce": (0.90, 0.93, 0.90), "mentornet": (0.92, 0.91, 0.92)}
    found = advice_of(runs(accuracies, SECONDS), "test_accuracy")
    assert found["verdict"] == "no difference shown"
    assert "is not shown to be better than gce, the cheapest within 2 points" in found["text"]
    assert "take gce, or more seeds to tell them apart" in found["text"]


def test_one_seed_shows_nothing_nor_do_two_that_differ_alike() -> None:
    for accuracies in ({"gce": (0.90,), "mentornet": (0.91,)}, {"gce": (0.90, 0.8), "mentornet": (0.91, 0.81)}):
        found = advice_of(runs(accuracies, SECONDS), "test_accuracy")
        assert found["difference"]["low"] is None
        assert found["verdict"] == "no difference shown"
        assert "too few to bound it" in found["text"]


def test_where_none_is_within_reach_the_best_of_the_cheaper_ones() -> None:
    accuracies = {"uniform": (0.70, 0.71, 0.72), "gce": (0.80, 0.81, 0.82), "mentornet": (0.92, 0.90, 0.91)}
    found = advice_of(runs(accuracies, SECONDS), "test_accuracy")
    assert (found["than"], found["why"], found["verdict"]) == ("gce", "cheaper", "better")
    assert "gce, the best of the cheaper ones, of which none lies within 2 points" in found["text"]


def test_a_method_out_of_reach_is_never_advised() -> None:
    """Whatever one seed can't bound."""
    found = advice_of(runs({"gce": (0.24,), "mentornet": (0.763,)}, SECONDS), "test_accuracy")
    assert (found["than"], found["why"], found["verdict"]) == ("gce", "cheaper", "no difference shown")
    assert "too few to bound it; take mentornet, or more seeds" in found["text"]


def test_a_moment_of_training_time_makes_no_method_cheaper() -> None:
    accuracies = {"gce": (0.90, 0.93, 0.90), "mentornet": (0.92, 0.91, 0.92)}
    found = advice_of(runs(accuracies, {"gce": 19.0, "mentornet": 20.0}), "test_accuracy")
    assert (found["best"], found["why"]) == ("mentornet", "next")


def test_methods_that_are_level_are_counted() -> None:
    accuracies = {"gce": (1.0, 1.0), "mentornet": (1.0, 1.0), "mixup": (1.0, 1.0), "uniform": (0.5, 0.5)}
    text = advice_of(runs(accuracies, SECONDS), "test_accuracy")["text"]
    assert "has the highest test accuracy with 2 other methods, 1.000" in text


def test_where_nothing_is_cheaper_the_next_best() -> None:
    accuracies = {"gce": (0.90, 0.93, 0.90), "mentornet": (0.90, 0.91, 0.90), "mixup": (0.5, 0.5, 0.5)}
    found = advice_of(runs(accuracies, SECONDS), "test_accuracy")
    assert (found["best"], found["than"], found["why"]) == ("gce", "mentornet", "next")
    assert "nothing is cheaper than gce" in found["text"]
    assert "take gce, or more seeds" in found["text"]


def test_a_method_that_lacks_a_seed_is_no_answer() -> None:
    rows = [row for row in runs({"gce": (0.90, 0.91), "mixup": (0.99, 0.99)}) if row["train_seconds"]]
    rows = [row for row in rows if (row["method"], row["seed"]) != ("mixup", 1)]
    found = advice_of([*rows, failed("mixup", 1, "boom")], "test_accuracy")
    assert (found["best"], found["than"]) == ("gce", None)
    assert found["text"] == "gce has test accuracy 0.905; there is no other method to compare it with."


def test_seeds_that_two_methods_do_not_share_are_not_compared() -> None:
    """Each has two of three seeds: of the means over other seeds, nothing follows; nor is one pair two seeds."""
    finished = runs({"gce": (0.90, 0.91, 0.92), "mixup": (0.95, 0.80, 0.99)})
    lost = {("gce", 0), ("mixup", 1)}
    rows = [row for row in finished if (row["method"], row["seed"]) not in lost]
    found = advice_of([*rows, *(failed(*one, "boom") for one in lost)], "test_accuracy")
    assert (found["best"], found["than"]) == (None, None)
    assert found["text"] == "No method has a run that finished at each of the 3 seeds, so nothing can be said."


def test_a_seed_at_which_nothing_finished_is_no_seed() -> None:
    rows = runs({"gce": (0.90, 0.91), "mixup": (0.95, 0.99)})
    found = advice_of([*rows, failed("gce", 2, "boom"), failed("mixup", 2, "boom")], "test_accuracy")
    assert found["best"] == "mixup"
    assert "over 2 seeds" in found["text"]


def test_nothing_finished() -> None:
    found = advice_of([failed("gce", 0, "boom")], "test_accuracy")
    assert (found["best"], found["text"]) == (None, "No method has a run that finished, so nothing can be said.")


def test_accuracy_on_trusted_samples_is_called_so() -> None:
    rows = [{**row, "trusted_accuracy_selected": 0.5 + 0.1 * row["seed"]} for row in runs({"gce": (0.1, 0.2)})]
    assert "accuracy on held-out trusted samples 0.550" in advice_of(rows, "trusted_accuracy")["text"]
