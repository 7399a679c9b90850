"""The parameters of trainer `mlp`: names, forms, limits, defaults. Pure.

A wrong value is refused by name. An unknown name is not: search spaces are shared between
trainers, so it is reported as ignored and the trial goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..failures import InvalidRequest

# Beyond these a candidate is a typing error or an attack on the memory of the machine.
MAX_LAYERS = 16
MAX_WIDTH = 8_192
MAX_EPOCHS = 10_000
MAX_BATCH = 65_536

_ACTIVATIONS = {
    "relu": "relu",
    "tanh": "tanh",
    "logistic": "logistic",
    "sigmoid": "logistic",
    "identity": "identity",
    "linear": "identity",
}
_OPTIMIZERS = {"adam": "adam", "sgd": "sgd"}
_KNOWN = {
    "layers",
    "layer_sizes",
    "neurons",
    "activation",
    "optimizer",
    "learning_rate",
    "alpha",
    "batch_size",
    "epochs",
    "spectral_norm",
}


@dataclass(frozen=True)
class MlpParameters:
    """One candidate, checked, defaults filled in."""

    layers: Tuple[int, ...]
    activation: str
    optimizer: str
    learning_rate: float
    alpha: float
    batch_size: int
    epochs: int
    spectral_norm: bool

    def as_dict(self) -> Dict[str, Any]:
        """In the form a request may have them."""
        return {**vars(self), "layers": list(self.layers)}


def read(params: Mapping[str, Any]) -> Tuple[MlpParameters, List[str]]:
    """The parameters and the names that were ignored. Raises `InvalidRequest` naming one."""
    parameters = MlpParameters(
        layers=_layers(params),
        activation=_one_of(params, "activation", _ACTIVATIONS, "relu"),
        optimizer=_one_of(params, "optimizer", _OPTIMIZERS, "adam"),
        learning_rate=_real(params, "learning_rate", 0.001, above=0.0, most=10.0),
        alpha=_real(params, "alpha", 0.0001, above=None, most=1_000.0),
        batch_size=_whole(params, "batch_size", 32, MAX_BATCH),
        epochs=_whole(params, "epochs", 12, MAX_EPOCHS),
        spectral_norm=_flag(params, "spectral_norm"),
    )
    return parameters, sorted(set(params) - _KNOWN)


def _layers(params: Mapping[str, Any]) -> Tuple[int, ...]:
    """A list of widths; one width; or a number of layers with `neurons` as their width."""
    name = "layers" if "layers" in params else "layer_sizes"
    value = params.get(name, [64])
    if "neurons" in params:
        width = _whole(params, "neurons", 64, MAX_WIDTH)
        return (width,) * _whole({name: value}, name, 1, MAX_LAYERS)
    widths = value if isinstance(value, (list, tuple)) else [value]
    if not 1 <= len(widths) <= MAX_LAYERS:
        raise _invalid(name, value, f"1 to {MAX_LAYERS} layer widths")
    return tuple(_whole({name: width}, name, 1, MAX_WIDTH) for width in widths)


def _one_of(params: Mapping[str, Any], name: str, choices: Mapping[str, str], default: str) -> str:
    value = params.get(name, default)
    if not isinstance(value, str) or value.lower() not in choices:
        raise _invalid(name, value, "one of " + ", ".join(choices))
    return choices[value.lower()]


def _real(
    params: Mapping[str, Any], name: str, default: float, *, above: Optional[float], most: float
) -> float:
    value = params.get(name, default)
    wanted = f"a number {'of at least 0' if above is None else 'above 0'} and at most {most:g}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _invalid(name, value, wanted)
    if not 0 <= value <= most or value == above:
        raise _invalid(name, value, wanted)
    return float(value)


def _whole(params: Mapping[str, Any], name: str, default: int, most: int) -> int:
    value = params.get(name, default)
    # Ranges sampled on a grid may arrive as 32.0.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise _invalid(name, value, f"a whole number from 1 to {most}")
    return value


def _flag(params: Mapping[str, Any], name: str) -> bool:
    value = params.get(name, False)
    if not isinstance(value, bool):
        raise _invalid(name, value, "true or false")
    return value


def _invalid(name: str, value: Any, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"parameter {name!r} is {str(value)[:100]!r}: expected {wanted}")
