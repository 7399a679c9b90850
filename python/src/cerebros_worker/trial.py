"""What a trainer is given beside its parameters."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional

from . import artifacts
from .channel import Channel
from .datasets.content import Located
from .failures import InvalidRequest
from .frames import Message
from .plain import plain_float, to_metrics, to_plain
from .stops import Stopped

if TYPE_CHECKING:
    from .datasets import Dataset, DataSets

_SEED_MODULUS = 2**32  # what numpy's global generator takes

# Other data sets than its own that a result names, and characters of a name.
_MAX_OTHERS = 10
_MAX_NAME_CHARS = 200


class Trial:
    """One candidate's training. Belongs to its call: unusable once the trainer has returned.

    run_id, trial_id, number, attempt   who this is (number is None in an opaque run)
    seed                                deterministic; `random` and `numpy.random` are set to it
    objective, direction                the metric the search looks at, "maximize" or "minimize"
    dataset_id, budget                  as the run's specification has them
    workdir                             a directory of this trial alone; the current one meanwhile
    """

    def __init__(
        self, call_id: int, request: Mapping[str, Any], channel: Channel, datasets: DataSets
    ) -> None:
        self.run_id: str = str(request.get("run_id", ""))
        self.trial_id: str = str(request.get("trial_id", ""))
        self.number: Optional[int] = request.get("number")
        self.attempt: int = int(request.get("attempt") or 0)
        self.seed: int = int(request.get("seed") or 0)
        self.objective: str = str(request.get("objective") or "accuracy")
        self.direction: str = str(request.get("direction") or "maximize")
        self.dataset_id: Optional[str] = request.get("dataset_id")
        self.workdir: str = str(request.get("workdir") or "")
        self.budget: Dict[str, Any] = dict(request.get("budget") or {})
        # What the result will say beside the returned metrics.
        self.latest_metrics: Dict[str, float] = {}
        self.effective_parameters: Optional[Dict[str, Any]] = None
        self.spectral_norm = False
        self.spectral_norm_value: Optional[float] = None
        self.stopped_by: Optional[Stopped] = None
        self.other_datasets: List[str] = []
        self._call_id = call_id
        self._channel = channel
        self._datasets = datasets
        self._located = Located.of(request.get("dataset"))
        self._reports = 0

    def report(self, metrics: Mapping[str, Any], step: Optional[int] = None) -> None:
        """Publishes intermediate values; `step` counts up from 0 when it is not given.

        Raises `Pruned` or `Cancelled` when the search wants no more of this trial.
        """
        self.publish_report(metrics, step)

    def publish_report(
        self, metrics: Mapping[str, Any], step: Optional[int], number: Optional[int] = None
    ) -> None:
        """Sends values on the way; `number` names the trial of an opaque run they belong to."""
        values = to_metrics(metrics)
        at = self._reports if step is None else int(step)
        if at < 0 or (number or 0) < 0:
            raise ValueError(f"step and number must not be negative, got {at} and {number}")
        self._reports = at + 1
        self.latest_metrics.update(values)
        of_trial = {} if number is None else {"number": int(number)}
        self._send({"type": "report", "metrics": sendable(values), "step": at, **of_trial})
        self.raise_if_stopped()

    def save_artifact(self, name: str, source: artifacts.Source) -> str:
        """Keeps a file, given by path or as bytes, under `name`; returns where it now lies."""
        stored = artifacts.store(self.workdir, name, source)
        self._send({"type": "artifact", **stored})
        path: str = stored["path"]
        return path

    def load_dataset(self, name: Optional[str] = None) -> Dataset:
        """The run's data set, or another one by name; loaded once per process."""
        wanted = name or self.dataset_id
        if not wanted:
            raise InvalidRequest("dataset_id is missing: name a data set")
        if self._located and wanted in (self.dataset_id, self._located.name):
            return self._datasets.load_located(self._located)
        if wanted != self.dataset_id:
            self._note_other(wanted)
        return self._datasets.load(wanted)

    def _note_other(self, name: str) -> None:
        # Whether there are others is what the worker wants to know; a few say which.
        if len(self.other_datasets) < _MAX_OTHERS:
            self.other_datasets.append(str(name)[:_MAX_NAME_CHARS])

    def use_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Records the parameters in effect, defaults filled in; else the given ones are."""
        self.effective_parameters = to_plain(dict(parameters), "parameters")

    def measure_spectral_norm(self, value: Any, *, applied: bool) -> None:
        """Records the largest singular value over the layers, and if it was constrained."""
        self.spectral_norm = bool(applied)
        self.spectral_norm_value = to_metrics({"value": value}, "spectral_norm")["value"]

    def raise_if_stopped(self) -> None:
        """Raises `Pruned` or `Cancelled` when the search says stop. Costs one system call."""
        stop = self._channel.stop_of(self._call_id)
        if stop is not None:
            self.stopped_by = stop(f"trial {self.trial_id} was {stop.status} by the search")
            raise self.stopped_by

    def publish_trial(self, fields: Message) -> None:
        """Sends a trial of an opaque run; `report_trial` is the way to it."""
        self._reports = 0  # the steps of the next trial begin at 0
        self._send({"type": "trial", "trial": fields})
        self.raise_if_stopped()

    def _send(self, message: Message) -> None:
        self._channel.send_during(self._call_id, {"id": self._call_id, **message})


def seed_generators(seed: int) -> None:
    """Sets the process-wide generators, numpy's only if something imported it."""
    random.seed(seed)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(seed % _SEED_MODULUS)


def sendable(metrics: Mapping[str, float]) -> Message:
    """Metrics with non-finite values in the form JSON has for them."""
    return {name: plain_float(value) for name, value in metrics.items()}
