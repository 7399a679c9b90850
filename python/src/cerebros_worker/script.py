"""One call in a process of its own: `python script.py --bridge-op OP`, asked on stdin.

What a worker runs for trainers and entry points when it does not keep children warm. The
answer is the last line on stdout; everything user code prints comes before it. A child tells
what happens while it happens, this tells it at the end: the reports and files of a trial, and
the trials of a search, are lists in the answer.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any, Dict, List, Optional, Type

if not __package__:
    # As a script this directory comes first on the path, and would hide modules of others.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    __package__ = "cerebros_worker"

from .calls import Calls
from .datasets import DataSets
from .entries import Entries
from .failures import FrameTooLarge, describe
from .frames import MAX_FRAME_BYTES, Message, encode
from .stops import Cancelled, Stopped

CALL = 1
# Room for the result itself beside what was told on the way.
MAX_TOLD_BYTES = MAX_FRAME_BYTES // 2

_LISTS = {"report": "reports", "artifact": "artifacts", "trial": "trials"}


class Answer:
    """What a call tells, gathered; in place of the channel of a child."""

    def __init__(self, known: List[int], max_trials: Optional[int]) -> None:
        self.told: Dict[str, List[Any]] = {}
        self.result: Message = {}
        self._counted = set(known)
        self._max_trials = max_trials
        self._next_number = 0
        self._is_stopped = False
        self._bytes = 0
        self._process = os.getpid()

    @property
    def forked(self) -> bool:
        """True in a copy of the process that user code made."""
        return os.getpid() != self._process

    def begin(self, call_id: int) -> None:
        """There is one call."""

    def send_during(self, call_id: int, message: Message) -> None:
        """Keeps what is told."""
        self._bytes += len(encode(message))
        if self._bytes > MAX_TOLD_BYTES:
            raise FrameTooLarge("sum of all reports", self._bytes, MAX_TOLD_BYTES)
        kind = message["type"]
        told = {key: value for key, value in message.items() if key not in ("type", "id")}
        if kind == "trial":
            told = told["trial"]
            self._count(told)
        elif kind == "report" and self._max_trials is not None:
            told.setdefault("number", self._next_number)
        self.told.setdefault(_LISTS[kind], []).append(told)

    def finish(self, call_id: int, result: Message) -> None:
        """Keeps the result."""
        encode(result)
        self.result = result

    def stop_of(self, call_id: int) -> Optional[Type[Stopped]]:
        """Whether the call is to end."""
        return Cancelled if self._is_stopped else None

    def stop(self, *_signal: Any) -> None:
        """Ends the call at its next report."""
        self._is_stopped = True

    def _count(self, trial: Message) -> None:
        number = trial.get("number")
        number = self._next_number if number is None else number
        if isinstance(number, int):
            self._counted.add(number)
            self._next_number = number + 1
        if self._max_trials is not None and len(self._counted) > self._max_trials:
            self.stop()  # the worker has to see the one that is too much


def main() -> None:
    """Reads the question, makes the call, prints the answer."""
    if sys.argv[1:] == ["--bridge-op", "ping"]:
        return  # whoever gets here can make calls
    question = json.loads(sys.stdin.read() or os.environ["CEREBROS_BRIDGE_PAYLOAD"])
    answer = _answer(question["op"], question["payload"])
    os.write(1, b"\n" + json.dumps(answer, allow_nan=False).encode() + b"\n")


def _answer(operation: str, payload: Message) -> Message:
    if operation == "train":
        request = {name: payload[name] for name in ("entry", "params", "trial")}
        gathered = _call({"op": "train", **request}, Answer([], None))
        result = {key: value for key, value in gathered.result.items() if key not in ("type", "id")}
        return {**result, **gathered.told}
    spec, opts = payload["spec"], payload["opts"]
    known = [trial["number"] for trial in opts.get("resumed_trials") or ()]
    gathered = _call(
        {
            "op": operation,
            "entry": payload.get("entrypoint"),
            "spec": spec,
            "opts": opts,
            "trial": {**spec, "workdir": os.getcwd(), "attempt": opts.get("attempt")},
        },
        Answer(known, (opts.get("budget") or {}).get("max_trials")),
    )
    result = {key: value for key, value in gathered.result.items() if key not in ("type", "id")}
    # Apart: what a function returns has keys of its own, and they may be named like our lists.
    return {"cerebros_call": result, **gathered.told}


def _call(request: Message, answer: Answer) -> Answer:
    signal.signal(signal.SIGTERM, answer.stop)
    try:
        datasets = DataSets(os.environ.get("CEREBROS_DATASET_DIR"))
        calls = Calls(answer, Entries(), datasets)  # type: ignore[arg-type]  # has its methods
        calls.run({"id": CALL, **request})
    except Exception as error:
        answer.result = {"status": "failed", "metrics": {}, "failure": describe(error)}
    return answer


if __name__ == "__main__":
    main()
