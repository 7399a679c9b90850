"""A trainer: called once for each candidate, in a process that stays warm."""

import json


def train(params, trial):
    """Fits y = 2x + 1 by gradient descent; the learning rate is what is searched for."""
    points = [(x / 10, 2 * x / 10 + 1) for x in range(10)]
    slope, offset, error = 0.0, 0.0, 0.0
    for step in range(params["steps"]):
        errors = [(slope * x + offset - y, x) for x, y in points]
        slope -= params["learning_rate"] * sum(e * x for e, x in errors) / len(points)
        offset -= params["learning_rate"] * sum(e for e, _ in errors) / len(points)
        error = sum(e * e for e, _ in errors) / len(points)
        trial.report({"error": error}, step=step)  # an event; raises when the trial is to stop
    trial.save_artifact("model.json", json.dumps({"slope": slope, "offset": offset}).encode())
    return {"error": error}  # the objective of the request, and whatever else was measured
