"""MLflow's own fluent client, as ordered on standard input: nested runs, or values one by one.

One JSON object a line each way: {"what": "trials" | "values", "count": N} is answered by
{"wall": seconds}. Ends with its standard input. The server is named by MLFLOW_TRACKING_URI.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Dict

import mlflow


def trial(number: int) -> Dict[str, Dict[str, Any]]:
    """A trial of what the sink tells of each: parameters, metrics, tags."""
    noise = number % 997 / 9973.0
    return {
        "params": {
            "activation": "relu",
            "batch_size": 64,
            "dropout": 0.1 + number % 7 * 0.05,
            "early_stopping": True,
            "epochs": 20 + number % 10,
            "layers": 2,
            "learning_rate": 0.001 + number % 13 * 0.0003,
            "neurons": 128,
        },
        "metrics": {
            "accuracy": 0.9371 + noise,
            "f1": 0.9288 + noise,
            "loss": 0.2214 - noise,
            "precision": 0.9413 + noise,
            "recall": 0.9166 + noise,
            "train_seconds": 1.249731 + noise,
        },
        "tags": {
            "artifact_uri": f"nats://cerebros_artifacts/fluent/{number:05}/model.joblib",
            "attempt": 1,
            "candidate_id": f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}",
            "duration_ms": 1250,
            "kind": "trial",
            "number": number,
            "objective": "accuracy",
            "parent_ids": "t00000,t00000",
            "run_id": "fluent",
            "seed": number * 7919,
            "spectral_norm": False,
            "status": "succeeded",
            "trial_id": f"fluent-t{number:05}",
            "worker_id": "worker-7f3a",
        },
    }


def trials(count: int) -> float:
    """Nested runs under one parent, with a call for each kind of thing they hold."""
    with mlflow.start_run():
        began = time.perf_counter()
        for number in range(count):
            told = trial(number)
            with mlflow.start_run(nested=True, run_name=f"trial-{number:05}"):
                mlflow.log_params(told["params"])
                mlflow.log_metrics(told["metrics"])
                mlflow.set_tags(told["tags"])
        return time.perf_counter() - began


def values(count: int) -> float:
    """Values of one metric on the way, as a training loop logs them."""
    with mlflow.start_run():
        began = time.perf_counter()
        for step in range(count):
            mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
        return time.perf_counter() - began


def main() -> None:
    """Serves orders until there are no more."""
    mlflow.set_experiment("fluent")
    measured = {"trials": trials, "values": values}
    for line in sys.stdin:
        order = json.loads(line)
        wall = measured[order["what"]](order["count"])
        sys.stdout.write(json.dumps({"wall": wall}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
