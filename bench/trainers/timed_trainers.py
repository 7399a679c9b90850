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


def stalls_from(params, trial):
    """Trains nothing; a first attempt never gets beyond trial number `first`."""
    while trial.attempt == 1 and trial.number >= params["first"]:
        trial.raise_if_stopped()
        time.sleep(0.02)
    return {trial.objective: params["x"]}


def _result(params, trial, took):
    return {trial.objective: params.get("x", 0.0), "trained_seconds": took}
