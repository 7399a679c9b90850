"""What needs no broker: ids, times, the envelope, the target, progress."""

from __future__ import annotations

import json
import math
import os
import tempfile
import unittest
from datetime import datetime, timezone
from pathlib import Path

import cerebros_client as cerebros
from cerebros_client import decode, envelope, ids, runs, subjects, target, times
from cerebros_client.progress import Progress
from cerebros_client.stream import Message, Start

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def message(payload: bytes, headers: dict[str, str] | None = None, subject: str = subjects.METRIC) -> Message:
    return Message(seq=7, subject=subject, time=NOON, headers=headers or {}, payload=payload)


def event(subject: str, seq: int = 1, **data: object) -> cerebros.Event:
    return cerebros.Event(seq=seq, subject=subject, time=NOON, run_id="r", type="", data=data)


class Ids(unittest.TestCase):
    def test_a_derived_id_is_the_one_the_services_derive(self) -> None:
        derived = ids.derive("CEREBROS", 7, 1_700_000_000_000)
        self.assertEqual(derived, "018bcfe5-6800-7b10-919e-510f0c28851c")
        self.assertEqual(ids.made_at(derived), datetime.fromtimestamp(1_700_000_000, timezone.utc))

    def test_new_ids_sort_by_time_and_other_ids_tell_none(self) -> None:
        made_at = ids.made_at(ids.new())
        assert made_at is not None
        self.assertLess(abs((datetime.now(timezone.utc) - made_at).total_seconds()), 60)
        self.assertIsNone(ids.made_at("r-1"))
        self.assertIsNone(ids.made_at("0190b1c2-7c3d-4abc-8def-000000000001"))


class Times(unittest.TestCase):
    def test_a_time_has_no_decimals_that_say_nothing(self) -> None:
        for text in ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5Z", "2026-01-31T12:00:00.000001Z"):
            self.assertEqual(times.iso(times.parse(text)), text)
        self.assertEqual(
            times.iso(times.parse("2026-01-31T14:00:00.123456789+02:00")), "2026-01-31T12:00:00.123456Z"
        )
        with self.assertRaises(ValueError):
            times.parse("2026-01-31T12:00:00")

    def test_a_broker_s_time_is_rounded_down(self) -> None:
        self.assertEqual(times.iso(times.from_nanoseconds(1_999)), "1970-01-01T00:00:00.000001Z")


class Decoding(unittest.TestCase):
    def test_doubles_are_floats_and_free_form_parts_stay_as_they_are(self) -> None:
        read = decode.event(message(b'{"run_id": "r", "value": "-Infinity", "extra": {"value": "NaN"}}'), {})
        self.assertEqual(read.data, {"run_id": "r", "value": -math.inf, "extra": {"value": "NaN"}})
        read = decode.event(message(b'{"run_id": "r", "value": 1}'), {})
        self.assertIsInstance(read.data["value"], float)

    def test_a_structured_cloud_event_is_understood(self) -> None:
        body = {"specversion": "1.0", "type": "ml.run.metric.v1", "data": {"run_id": "r", "value": 1.5}}
        headers = {"content-type": "application/cloudevents+json; charset=utf-8"}
        self.assertEqual(decode.event(message(json.dumps(body).encode(), headers), {}).data["value"], 1.5)
        body = {"specversion": "1.0", "type": "t", "data_base64": "eyJydW5faWQiOiAiciJ9"}
        self.assertEqual(decode.event(message(json.dumps(body).encode(), headers), {}).run_id, "r")

    def test_what_is_no_event_is_unreadable(self) -> None:
        structured = {"Content-Type": "application/cloudevents+json"}
        for payload, headers in (
            (b"", {}),
            (b"\xff", {}),
            (b"[]", {}),
            (b"{}", {}),
            (b'{"run_id": 7}', {}),
            (b"[" * 100_000, {}),
            (b'{"run_id": "r"}' + b" " * subjects.MAX_EVENT_BYTES, {}),
            (b"{}", {"Content-Type": "image/png"}),
            (b"\xc3", {"Content-Type": "application/avro"}),
            (b"[]", structured),
            (b'{"data_base64": "!"}', structured),
            (b'{"data_base64": 7}', structured),
        ):
            with self.assertRaises(cerebros.UnreadableEvent, msg=payload[:40]):
                decode.event(message(payload, headers), {})

    def test_a_line_is_the_one_every_live_view_prints(self) -> None:
        line = decode.event(message(b'{"run_id": "r"}'), {}).to_json()
        self.assertEqual(list(line), ["seq", "subject", "time", "run_id", "type", "data"])
        self.assertEqual(line["time"], "2026-01-31T12:00:00Z")

    def test_header_names_are_compared_without_case(self) -> None:
        self.assertEqual(envelope.header({"CE-Subject": "r"}, "ce-subject"), "r")
        self.assertIsNone(envelope.header(None, "ce-subject"))


class Targets(unittest.TestCase):
    def test_what_is_given_stands_above_the_environment_and_that_above_the_local_stack(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "endpoints.json"
            env = {"CEREBROS_DATA_DIR": directory}
            self.assertEqual(target.resolve(environ=env).url, target.DEFAULT_URL)
            path.write_text(json.dumps({"nats": "nats://127.0.0.1:7", "pid": os.getpid()}))
            self.assertEqual(target.resolve(environ=env).url, "nats://127.0.0.1:7")
            env["NATS_URL"] = "nats://b:1"
            self.assertEqual(target.resolve(environ=env).url, "nats://b:1")
            self.assertEqual(target.resolve("nats://a:1", environ=env).url, "nats://a:1")

    def test_a_stack_that_is_gone_and_a_broken_file_are_not_believed(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "endpoints.json"
            for text in ("", "{", "[]", "{}", '{"nats": "nats://b:1", "pid": 0}', '{"nats": 1, "pid": 1}'):
                path.write_text(text)
                self.assertEqual(
                    target.resolve(environ={"CEREBROS_DATA_DIR": directory}).url, target.DEFAULT_URL
                )

    def test_credentials_come_from_one_place_and_are_never_shown(self) -> None:
        env = {"NATS_USER": "u", "NATS_PASSWORD": "p"}
        found = target.resolve("nats://x:y@b:1,c:2", environ=env)
        self.assertEqual((found.user, found.password), ("u", "p"))
        self.assertEqual(found.shown, "nats://b:1,nats://c:2")
        self.assertNotIn("y", repr(found).replace("origin", ""))
        self.assertEqual(target.resolve(creds="file", environ=env).user, None)
        for wrong in ({"NATS_PASSWORD": "p"}, {"NATS_CREDS": "f", "NATS_USER": "u"}):
            with self.assertRaises(cerebros.InvalidRequest):
                target.resolve(environ=wrong)


class Runs(unittest.TestCase):
    def test_reading_begins_where_the_run_can_have_events(self) -> None:
        record = {"first_sequence": 5, "request_sequence": 9, "state": "failed"}
        self.assertEqual(runs.Run("r", record).begin(), Start(5))
        self.assertEqual(runs.Run("r", record, event(subjects.REQUESTED, 3)).begin(), Start(3))
        self.assertEqual(runs.Run("r").begin(), Start(1))
        begin = runs.Run(ids.derive("CEREBROS", 1, 1_700_000_000_000)).begin()
        self.assertEqual(begin.policy()["opt_start_time"], "2023-11-14T21:13:20Z")

    def test_trials_count_once_and_a_restart_forgets_what_did_not_succeed(self) -> None:
        progress = Progress()
        for subject, data in (
            (subjects.REQUESTED, {}),
            (subjects.STARTED, {"attempt": 1}),
            (
                subjects.TRIAL,
                {"trial_id": "a", "status": "succeeded", "attempt": 1, "metrics": {"accuracy": 0.5}},
            ),
            (subjects.TRIAL, {"trial_id": "a", "status": "failed", "attempt": 1}),
            (subjects.TRIAL, {"trial_id": "b", "status": "failed", "attempt": 1}),
            (subjects.FAILED, {"attempt": 1, "failure": {"class": "oom"}}),
            (subjects.TRIAL, {"trial_id": "c", "status": "succeeded", "attempt": 1}),
        ):
            progress.apply(event(subject, **data))
        self.assertEqual([trial.trial_id for trial in progress.trials("accuracy")], ["a", "b"])
        self.assertEqual((progress.state, progress.failed_trials), (cerebros.RunState.FAILED, 1))
        assert progress.failure is not None
        self.assertEqual(progress.failure.failure_class, "oom")
        progress.apply(event(subjects.STARTED, attempt=2))
        progress.apply(event(subjects.TRIAL, trial_id="b", status="pruned", attempt=1))
        self.assertEqual([trial.objective for trial in progress.trials("accuracy")], [0.5])
        self.assertEqual((progress.state, progress.attempt), (cerebros.RunState.RUNNING, 2))
