"""Trainer `mlp`: a multi-layer perceptron of scikit-learn, for classification and regression.

Inputs, and the target of a regression, are standardised by what the training part shows.
After every epoch the validation part is scored and reported; the test part is scored once, at
the end. The model is kept as `model.joblib`, a scikit-learn estimator that takes raw features
and needs nothing of this package to be loaded.

With `spectral_norm` each weight matrix is scaled back after every epoch so that its largest
singular value is at most 1. The value is measured from the weights in any case.
"""

from __future__ import annotations

import io
import warnings
from typing import Any, Dict, List, Tuple

import joblib
import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from ..datasets import Dataset
from ..datasets.table import CLASSIFICATION
from ..failures import InvalidRequest, ObjectiveNotFinite
from ..trial import Trial
from . import mlp_parameters, mlp_scores
from .mlp_parameters import MlpParameters

# Adam keeps three numbers of eight bytes per weight: this is 1.2 GB, the gradients not counted.
MAX_WEIGHTS = 50_000_000
# Above 1 by more than rounding does, so that the measured value is never above 1.
_MARGIN = 1.0 + 1e-12


def train(params: Dict[str, Any], trial: Trial) -> Dict[str, float]:
    """Trains one candidate on the run's data set; metrics as `mlp_scores` defines them."""
    parameters, ignored = mlp_parameters.read(params)
    for name in ignored:
        warnings.warn(f"parameter {name!r} is not used by trainer mlp", stacklevel=2)
    dataset = trial.load_dataset()
    mlp_scores.check_objective(trial.objective, dataset.task)
    trial.use_parameters(parameters.as_dict())
    training = _Training(parameters, dataset, trial)
    metrics = training.run()
    trial.measure_spectral_norm(training.largest_singular_value(), applied=parameters.spectral_norm)
    trial.save_artifact("model.joblib", training.model_file())
    return metrics


class _Training:
    """One network and the three standardised parts of its data."""

    def __init__(self, parameters: MlpParameters, dataset: Dataset, trial: Trial) -> None:
        self._parameters = parameters
        self._trial = trial
        self._task = dataset.task
        split = dataset.split
        self._raw = dataset.features[split.train]
        self._scaler = StandardScaler().fit(self._raw)
        self._raw_target = dataset.target[split.train]
        self._target_scaler = None
        self._target_unit = 1.0
        if self._task != CLASSIFICATION:
            self._target_scaler = StandardScaler().fit(self._raw_target.reshape(-1, 1))
            self._target_unit = float(self._target_scaler.scale_[0])
        self._train = self._part(dataset, split.train)
        self._validation = self._part(dataset, split.validation)
        self._test = self._part(dataset, split.test)
        self._classes = np.unique(dataset.target) if self._task == CLASSIFICATION else None
        self._check_size(self._raw.shape[1])
        self._network = self._new_network(len(self._raw))

    def run(self) -> Dict[str, float]:
        """All epochs with their reports, then the metrics of the finished network."""
        scores: Dict[str, float] = {}
        for epoch in range(self._parameters.epochs):
            self._one_epoch(epoch)
            measured = self._score(self._validation)
            scores = mlp_scores.validation_scores(measured, float(self._network.loss_))
            reported = mlp_scores.per_epoch(scores, self._trial.objective, self._task)
            self._trial.report(reported, step=epoch)
        tested = self._score(self._test)
        return {**scores, **{f"test_{name}": value for name, value in tested.items()}}

    def largest_singular_value(self) -> float:
        """Over all layers, measured from the weights as they are."""
        return max(float(np.linalg.norm(weights, 2)) for weights in self._network.coefs_)

    def model_file(self) -> bytes:
        """The fitted estimator from raw features to labels or values, as joblib writes it."""
        model: Any = Pipeline([("scaler", self._scaler), ("model", self._network)])
        if self._target_scaler is not None:
            # Fitting only learns the target's scale: the frozen part is already trained.
            model = TransformedTargetRegressor(FrozenEstimator(model), transformer=StandardScaler())
            model.fit(self._raw, self._raw_target)
        content = io.BytesIO()
        joblib.dump(model, content)
        return content.getvalue()

    def _one_epoch(self, epoch: int) -> None:
        inputs, target = self._train
        try:
            if self._classes is None:
                self._network.partial_fit(inputs, target)
            else:
                self._network.partial_fit(inputs, target, classes=self._classes)
        except ValueError:
            if self._is_finite():
                raise
        if not self._is_finite():
            raise ObjectiveNotFinite(
                f"training diverged in epoch {epoch}: the weights are no longer finite; "
                f"learning_rate {self._parameters.learning_rate:g} may be too high"
            )
        if self._parameters.spectral_norm:
            self._constrain()

    def _constrain(self) -> None:
        for weights in self._network.coefs_:
            largest = np.linalg.norm(weights, 2)
            if largest > 1.0:
                weights /= largest * _MARGIN

    def _is_finite(self) -> bool:
        layers: List[Any] = [*self._network.coefs_, *self._network.intercepts_]
        return all(bool(np.isfinite(layer).all()) for layer in layers)

    def _score(self, part: Tuple[Any, Any]) -> Dict[str, float]:
        return mlp_scores.score(self._network, *part, self._task, self._target_unit)

    def _part(self, dataset: Dataset, rows: Any) -> Tuple[Any, Any]:
        target = dataset.target[rows]
        if self._target_scaler is not None:
            target = self._target_scaler.transform(target.reshape(-1, 1)).ravel()
        return self._scaler.transform(dataset.features[rows]), target

    def _check_size(self, inputs: int) -> None:
        outputs = 1 if self._classes is None else len(self._classes)
        widths = [inputs, *self._parameters.layers, outputs]
        weights = sum(a * b for a, b in zip(widths, widths[1:]))
        if weights > MAX_WEIGHTS:
            raise InvalidRequest(
                f"parameter 'layers': {list(self._parameters.layers)} makes {weights} weights; "
                f"the limit is {MAX_WEIGHTS}"
            )

    def _new_network(self, rows: int) -> Any:
        kind = MLPRegressor if self._classes is None else MLPClassifier
        return kind(
            hidden_layer_sizes=self._parameters.layers,
            activation=self._parameters.activation,
            solver=self._parameters.optimizer,
            learning_rate_init=self._parameters.learning_rate,
            alpha=self._parameters.alpha,
            batch_size=min(self._parameters.batch_size, rows),
            random_state=self._trial.seed % 2**32,
        )
