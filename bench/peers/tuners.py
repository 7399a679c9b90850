"""The tuners: the same objective in Optuna and in joblib, as ordered on standard input.

One JSON object a line each way: {"tuner": "optuna" | "joblib", "work": "wait" | "burn", "trials": N,
"seconds": S, "jobs": N} is answered by {"wall": seconds of the whole, "trained": seconds of all
trials together}. Ends with its standard input.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Callable, Dict, List, Tuple

import optuna
import timed_trainers
from joblib import Parallel, delayed

Objective = Callable[[float], float]


def with_optuna(work: Objective, seconds: float, trials: int, jobs: int) -> Tuple[float, float]:
    """A study in memory with random candidates, as ours, on threads."""
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=7)
    )
    took: List[float] = []

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        took.append(work(seconds))
        return x

    began = time.perf_counter()
    study.optimize(objective, n_trials=trials, n_jobs=jobs)
    return time.perf_counter() - began, sum(took)


def with_joblib(work: Objective, seconds: float, trials: int, jobs: int) -> Tuple[float, float]:
    """Processes that are warm and get their trials in batches of joblib's choice."""
    with Parallel(n_jobs=jobs, backend="loky") as parallel:
        parallel(delayed(work)(seconds) for _ in range(jobs))
        began = time.perf_counter()
        took = parallel(delayed(work)(seconds) for _ in range(trials))
        return time.perf_counter() - began, sum(took)


def main() -> None:
    """Serves orders until there are no more."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    works: Dict[str, Objective] = {"wait": timed_trainers.wait, "burn": timed_trainers.burn}
    tuners = {"optuna": with_optuna, "joblib": with_joblib}
    for line in sys.stdin:
        order = json.loads(line)
        tune = tuners[order["tuner"]]
        wall, trained = tune(works[order["work"]], order["seconds"], order["trials"], order["jobs"])
        sys.stdout.write(json.dumps({"wall": wall, "trained": trained}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
