"""Events in Avro come out as those in JSON."""

from __future__ import annotations

import io
import json
import math
import sys
import unittest
from unittest import mock

import fastavro

import cerebros_client as cerebros
from cerebros_client import avro, decode, subjects, times

from . import SCHEMAS
from .stage import Stage
from .test_pure import message

TRIAL = {
    "trial_id": "t",
    "run_id": "r",
    "status": "failed",
    "number": 3,
    "metrics": {"accuracy": "NaN", "loss": "-Infinity", "f1": 1.0},
    "parameters": {"layers": [64, 32], "name": "ünï"},
    "failure": {
        "class": "oom",
        "stage": "execute",
        "message": "too much",
        "origin": "user",
        "retryable": False,
    },
    "started_at": "2026-01-31T12:00:00.5Z",
    "finished_at": "2026-01-31T12:00:01Z",
    "spectral_norm_value": "Infinity",
}
START = {
    "run_id": "r",
    "timestamp": "2026-01-31T12:00:00.000001Z",
    "search_space": {"x": [0, 1]},
    "budget": {"max_trials": 3},
    "parameters": {},
    "extra": {"seed": 7, "tags": {}},
    "tau": 0.5,
}
COMPLETED = {
    "run_id": "r",
    "attempt": 1,
    "status": "succeeded",
    "best_metric": "Infinity",
    "best_model": {"x": 1},
    "population_history": [{"generation": 0, "best": 1.0}],
}
REQUESTED = {
    "run_id": "r",
    "dataset_id": "digits",
    "budget": {"max_trials": 2, "population_size": 4, "max_seconds": "Infinity"},
    "search_space": {"x": 1},
    "parameters": {},
    "extra": {"payload": None},
    "tau": 1.0,
}
EXAMPLES = {
    subjects.REQUESTED: ("run_requested", REQUESTED),
    subjects.ML_START: ("ml_run_started", START),
    subjects.TRIAL: ("trial_reported", TRIAL),
    subjects.COMPLETED: ("run_completed", COMPLETED),
}


def version(name: str) -> int:
    """The latest version of a schema."""
    return max(int(file.suffixes[0].removeprefix(".v")) for file in SCHEMAS.glob(f"{name}.v*.avsc"))


def schema_text(name: str) -> str:
    return (SCHEMAS / f"{name}.v{version(name)}.avsc").read_text()


def fingerprint(text: str) -> bytes:
    canonical = fastavro.schema.to_parsing_canonical_form(json.loads(text))
    return bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


def single_object(text: str, event: dict[str, object]) -> bytes:
    """The event as a service writes it: free-form parts as text, times and doubles as numbers."""
    schema = json.loads(text)
    free = {field["name"] for field in schema["fields"] if "JSON text in Avro" in field.get("doc", "")}
    moments = {"timestamp", "started_at", "finished_at"}
    doubles = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

    def written(name: str, value: object) -> object:
        if name in free:
            return json.dumps(value)
        if name in moments and isinstance(value, str):
            return times.parse(value)
        if isinstance(value, dict):
            return {key: written(key, each) for key, each in value.items()}
        return doubles.get(value, value) if isinstance(value, str) else value

    out = io.BytesIO()
    record = {name: written(name, value) for name, value in event.items()}
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    return b"\xc3\x01" + fingerprint(text) + out.getvalue()


class Schemas(unittest.TestCase):
    def test_what_we_publish_names_the_schemas_there_are(self) -> None:
        for name, subject in (
            ("RunRequested", subjects.REQUESTED),
            ("RunCancelRequested", subjects.CANCEL_REQUESTED),
        ):
            file = "run_requested" if name == "RunRequested" else "run_cancel_requested"
            number = int.from_bytes(fingerprint(schema_text(file)), "little")
            expected = f"cerebros:{name}:{version(file)}:{number:016x}"
            self.assertEqual(subjects.DATASCHEMA[subject], expected)

    def test_a_broken_value_is_unreadable_and_nothing_worse(self) -> None:
        text = schema_text("trial_reported")
        whole = single_object(text, TRIAL)
        schema = avro.compile_schema(text, avro.fingerprint(whole))
        for cut in range(len(whole)):
            with self.assertRaises(cerebros.UnreadableEvent):
                avro.read(whole[:cut], schema) if cut >= 10 else avro.fingerprint(whole[:cut])
        with self.assertRaises(cerebros.UnreadableEvent):
            avro.read(whole + b"\x00", schema)

    def test_a_text_that_is_no_schema_is_an_error_that_names_it(self) -> None:
        for text in ("", "{", "{}", '{"type": "nonsense"}'):
            with self.assertRaises(cerebros.SchemaUnknown) as caught:
                avro.compile_schema(text, "849a597936c45a5b")
            self.assertIn("849a597936c45a5b", str(caught.exception))

    def test_a_value_of_another_schema_is_unreadable(self) -> None:
        other = avro.compile_schema(schema_text("run_exception"), "0")
        with self.assertRaises(cerebros.UnreadableEvent):
            avro.read(single_object(schema_text("trial_reported"), TRIAL), other)

    def test_an_event_in_avro_is_the_event_in_json(self) -> None:
        for subject, (name, event) in EXAMPLES.items():
            text = schema_text(name)
            payload = single_object(text, event)
            schemas = {avro.fingerprint(payload): avro.compile_schema(text, avro.fingerprint(payload))}
            binary = decode.event(message(payload, {"Content-Type": "application/avro"}, subject), schemas)
            plain = decode.event(message(json.dumps(event).encode(), subject=subject), {})
            # A stranger's JSON leaves out what has a default; Avro cannot.
            filled = {**binary.data, **plain.data}
            for nested in ("budget", "failure"):
                if nested in event:
                    filled[nested] = {**binary.data[nested], **plain.data[nested]}
            self.assertEqual(repr(_sorted(binary.data)), repr(_sorted(filled)), subject)


class Events(Stage):
    async def put(self, name: str) -> str:
        text = schema_text(name)
        await self.schemas.put(f"{int.from_bytes(fingerprint(text), 'little'):016x}", text.encode())
        return text

    async def test_a_run_in_avro_is_watched_with_the_schemas_of_the_bucket(self) -> None:
        headers = {"Content-Type": "application/avro", "Cerebros-Run-Id": "r"}
        for subject, (name, event) in EXAMPLES.items():
            await self.publish(subject, single_object(await self.put(name), event), headers)
        events = await self.collect("r")
        self.assertEqual([event.subject for event in events], list(EXAMPLES))
        self.assertEqual(events[2].data["parameters"], TRIAL["parameters"])
        outcome = await self.client.result("r", timeout=20)
        self.assertEqual((outcome.best_metric, outcome.best_model), (math.inf, {"x": 1}))

    async def test_a_schema_the_broker_does_not_have_is_named(self) -> None:
        payload = single_object(schema_text("run_completed"), COMPLETED)
        await self.publish(
            subjects.COMPLETED, payload, {"Content-Type": "application/avro", "Cerebros-Run-Id": "r"}
        )
        with self.assertRaises(cerebros.SchemaUnknown) as caught:
            await self.client.result("r", timeout=20)
        self.assertIn(avro.fingerprint(payload), str(caught.exception))

    async def test_avro_without_the_extra_is_an_error_that_names_it(self) -> None:
        text = await self.put("run_completed")
        headers = {"Content-Type": "application/avro"}
        await self.publish(subjects.COMPLETED, single_object(text, {**COMPLETED, "run_id": "s"}), headers)
        await self.publish(
            subjects.COMPLETED, single_object(text, COMPLETED), {**headers, "Cerebros-Run-Id": "r"}
        )
        with mock.patch.dict(sys.modules, {"fastavro": None}):
            with self.assertRaises(cerebros.AvroSupportMissing) as caught:
                await self.collect("r")
        self.assertIn("cerebros-client[avro]", str(caught.exception))


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return value
