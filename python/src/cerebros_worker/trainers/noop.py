"""A trainer that trains nothing: the objective is the parameter `x`. For measuring the way."""

from __future__ import annotations

from typing import Any, Dict

from ..trial import Trial


def train(params: Dict[str, Any], trial: Trial) -> Dict[str, Any]:
    """`{objective: x}`, with `x` 0.0 when it is not given."""
    return {trial.objective: params.get("x", 0.0)}
