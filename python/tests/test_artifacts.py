"""Storing artifacts."""

import hashlib
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from cerebros_worker import artifacts


class Artifacts(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.workdir = Path(directory.name)

    def store(self, name: str, source: artifacts.Source) -> "dict[str, object]":
        return artifacts.store(str(self.workdir), name, source)

    def names(self) -> "list[str]":
        return sorted(os.listdir(self.workdir / "artifacts"))

    def test_bytes_and_files_are_kept_with_size_and_checksum(self) -> None:
        source = self.workdir / "source"
        source.write_bytes(b"abc")
        for content in (b"abc", bytearray(b"abc"), memoryview(b"abc"), source, str(source)):
            stored = self.store("model.json", content)
            self.assertEqual(
                stored,
                {
                    "name": "model.json",
                    "path": str(self.workdir / "artifacts" / "model.json"),
                    "bytes": 3,
                    "sha256": hashlib.sha256(b"abc").hexdigest(),
                    "media_type": "application/json",
                },
            )
            self.assertEqual((self.workdir / "artifacts" / "model.json").read_bytes(), b"abc")
        self.assertEqual(self.names(), ["model.json"])

    def test_names_that_could_lead_elsewhere_are_refused(self) -> None:
        for name in ("", ".", "..", "a/b", "../a", "a\0", "ä", "a b", "x" * 129, "a\n"):
            with self.subTest(name=name), self.assertRaisesRegex(ValueError, "is not allowed"):
                self.store(name, b"")
        self.store("x" * 128, b"")
        self.store(".hidden", b"")

    def test_a_directory_or_a_pipe_is_no_source(self) -> None:
        os.mkfifo(self.workdir / "pipe")
        for source in (self.workdir, self.workdir / "pipe"):
            with self.assertRaisesRegex(ValueError, "is not a file"):
                self.store("a", source)

    def test_what_cannot_be_stored_whole_leaves_nothing_behind(self) -> None:
        self.store("model", b"first")
        with mock.patch.object(artifacts, "MAX_ARTIFACT_BYTES", 3), self.assertRaises(ValueError):
            self.store("model", b"second")
        self.assertEqual(self.names(), ["model"])
        self.assertEqual((self.workdir / "artifacts" / "model").read_bytes(), b"first")

    def test_a_file_can_be_stored_from_where_it_will_lie(self) -> None:
        (self.workdir / "artifacts").mkdir()
        place = self.workdir / "artifacts" / "log.txt"
        place.write_bytes(b"x" * 3_000_000)
        self.assertEqual(self.store("log.txt", place)["bytes"], 3_000_000)
        self.assertEqual(place.stat().st_size, 3_000_000)
