"""How a network of trainer `mlp` is scored: the metrics of each task, on a given part.

`loss` is measured on the validation part, in the units the network was trained in: mean
cross-entropy, or half the mean squared error of the standardised target.
"""

from __future__ import annotations

from typing import Any, Dict

import numpy as np
from sklearn.metrics import f1_score

from ..datasets.table import CLASSIFICATION
from ..failures import InvalidRequest

# Known after every epoch, so that a search may prune by them.
_DURING = {
    "classification": ("accuracy", "val_accuracy", "loss", "val_loss", "train_loss", "f1"),
    "regression": ("rmse", "mae", "r2", "loss", "val_loss", "train_loss"),
}
# Known at the end: nothing may look at the test part before.
_AT_END = {
    "classification": ("test_accuracy", "test_f1", "test_loss"),
    "regression": ("test_rmse", "test_mae", "test_r2", "test_loss"),
}
# Reported in any case; the objective joins them.
_ALWAYS = {"classification": ("loss", "accuracy"), "regression": ("loss", "rmse")}


def check_objective(objective: str, task: str) -> None:
    """Raises `InvalidRequest` listing the objectives there are for the task."""
    there = _DURING[task] + _AT_END[task]
    if objective not in there:
        raise InvalidRequest(
            f"objective {objective!r} is not measured by trainer mlp for {task}: "
            f"there is {', '.join(there)}"
        )


def per_epoch(scores: Dict[str, float], objective: str, task: str) -> Dict[str, float]:
    """What is worth an event after an epoch."""
    wanted = dict.fromkeys((*_ALWAYS[task], objective))
    return {name: scores[name] for name in wanted if name in scores}


def score(model: Any, inputs: Any, target: Any, task: str, scale: float) -> Dict[str, float]:
    """Metrics of a fitted network; `scale` is the unit of a standardised target."""
    if task == CLASSIFICATION:
        return _classification(model, inputs, target)
    return _regression(model, inputs, target, scale)


def validation_scores(scores: Dict[str, float], train_loss: float) -> Dict[str, float]:
    """Metrics of the validation part under all their names."""
    named = {**scores, "val_loss": scores["loss"], "train_loss": train_loss}
    if "accuracy" in scores:
        named["val_accuracy"] = scores["accuracy"]
    return named


def _classification(model: Any, inputs: Any, target: Any) -> Dict[str, float]:
    likelihood = model.predict_proba(inputs)
    predicted = model.classes_[likelihood.argmax(axis=1)]
    columns = np.searchsorted(model.classes_, target)
    assigned = likelihood[np.arange(len(target)), columns]
    tiny = np.finfo(likelihood.dtype).tiny
    return {
        "accuracy": float(np.mean(predicted == target)),
        "loss": float(-np.mean(np.log(np.maximum(assigned, tiny)))),
        "f1": float(f1_score(target, predicted, average="macro", zero_division=0)),
    }


def _regression(model: Any, inputs: Any, target: Any, scale: float) -> Dict[str, float]:
    wrong = model.predict(inputs) - target
    squared = float(np.mean(wrong**2))
    spread = float(np.mean((target - target.mean()) ** 2))
    return {
        "rmse": squared**0.5 * scale,
        "mae": float(np.mean(np.abs(wrong))) * scale,
        "r2": 1.0 - squared / spread if spread > 0 else 0.0,
        "loss": squared / 2,
    }
