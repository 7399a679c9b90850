"""A search of its own: called once for the whole run."""

import json
import random


def run_nas(spec, opts):
    """Draws candidates at random; each is told as soon as it is known."""
    draw = random.Random(opts["seed"])  # the same trials again, should the run begin anew
    best, history = None, []
    for number in range(opts["budget"]["max_trials"]):
        layers = draw.choice(spec["search_space"]["layers"])
        rate = draw.uniform(0.001, 0.1)
        accuracy = 1 - abs(rate - 0.03) - 1 / layers  # train something here
        opts["report_trial"](
            number=number,
            parameters={"layers": layers, "rate": rate},
            metrics={"accuracy": accuracy},
        )
        if best is None or accuracy > best["accuracy"]:
            best = {"layers": layers, "rate": rate, "accuracy": accuracy}
        history.append({"generation": number, "best": best["accuracy"]})
    with open("best_model.json", "w") as file:  # the working directory is the run's own
        json.dump(best, file)
    return {
        "status": "success",  # or "failed" with "error": why
        "best_model": best,
        "best_metric": best["accuracy"],
        "completed_trials": len(history),
        "population_history": history,
        "artifacts": ["best_model.json"],
        "metadata": {"known_before": len(opts["resumed_trials"])},
    }
