"""Trainers that take a certain time and measure themselves how long they took.

The objectives are plain functions, so that the tuners the product is measured beside run the same
code (`peers/tuners.py`).
"""

import time


def wait(seconds):
    """Waits so long without using the processor. Returns how long it took."""
    began = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - began


def burn(seconds):
    """Uses so much processor time. Returns how much it used: waiting for a core is nobody's training."""
    began = time.thread_time()
    while time.thread_time() < began + seconds:
        sum(range(500))
    return time.thread_time() - began


def waits(params, trial):
    """`{objective: x, trained_seconds: what it took}` after a wait of `seconds`."""
    return _result(params, trial, wait(params["seconds"]))


def burns(params, trial):
    """The same after so much work."""
    return _result(params, trial, burn(params["seconds"]))


def tells(spec, opts):
    """A search that tells of as many trials as it may, of ordinary size, as fast as it can."""
    count = spec["budget"]["max_trials"]
    for number in range(count):
        opts["report_trial"](
            metrics={
                "accuracy": 0.5 + number / (3.0 * count),
                "f1": 0.9288417,
                "loss": 0.2214173,
                "precision": 0.9413091,
                "recall": 0.9166333,
                "train_seconds": 1.249731,
            },
            parameters={
                "activation": "relu",
                "batch_size": 64,
                "dropout": 0.25,
                "early_stopping": True,
                "epochs": 20 + number % 10,
                "layers": 2,
                "learning_rate": 0.0013,
                "neurons": 128,
            },
        )
    best = {"layers": 2}
    return {"status": "success", "best_model": best, "best_metric": 0.8, "completed_trials": count}


def stalls_from(params, trial):
    """Trains nothing; a first attempt never gets beyond trial number `first`."""
    while trial.attempt == 1 and trial.number >= params["first"]:
        trial.raise_if_stopped()
        time.sleep(0.02)
    return {trial.objective: params["x"]}


def _result(params, trial, took):
    return {trial.objective: params.get("x", 0.0), "trained_seconds": took}
