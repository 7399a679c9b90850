"""Data files stay inside the allowed directory."""

import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from cerebros_worker.datasets import DataSets, allowed_paths
from cerebros_worker.failures import InvalidRequest


class AllowedPaths(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.outside = Path(directory.name)
        self.root = self.outside / "data"
        (self.root / "deep").mkdir(parents=True)
        (self.outside / "secret.csv").write_text("a,target\n1,2\n")
        (self.outside / "data-other").mkdir()
        (self.outside / "data-other" / "x.csv").write_text("a,target\n")
        (self.root / "deep" / "a.csv").write_text("a,target\n")

    def resolve(self, name: str) -> str:
        return allowed_paths.resolve(str(self.root), name)[1]

    def test_a_file_has_one_name_however_it_is_written(self) -> None:
        for name in ("deep/a.csv", "./deep/../deep/a.csv", str(self.root / "deep" / "a.csv")):
            self.assertEqual(self.resolve(name), "deep/a.csv")

    def test_no_way_leads_outside(self) -> None:
        os.symlink(self.outside / "secret.csv", self.root / "link.csv")
        os.symlink(self.outside, self.root / "up")
        for name in (
            "../secret.csv",
            "deep/../../secret.csv",
            str(self.outside / "secret.csv"),
            "link.csv",
            "up/secret.csv",
            "../data-other/x.csv",
            "../missing.csv",
            "/etc/passwd",
        ):
            with self.subTest(name=name), self.assertRaisesRegex(InvalidRequest, "is not inside"):
                self.resolve(name)

    def test_links_within_the_directory_are_fine(self) -> None:
        os.symlink(self.root / "deep" / "a.csv", self.root / "link.csv")
        self.assertEqual(self.resolve("link.csv"), "deep/a.csv")

    def test_only_regular_files_of_limited_size_are_read(self) -> None:
        os.mkfifo(self.root / "pipe.csv")
        with self.assertRaisesRegex(InvalidRequest, "not a regular file"):
            self.resolve("pipe.csv")
        with self.assertRaisesRegex(InvalidRequest, "not a regular file"):
            self.resolve("deep")
        with mock.patch.object(allowed_paths, "MAX_FILE_BYTES", 3):
            with self.assertRaisesRegex(InvalidRequest, "the limit is 3"):
                self.resolve("deep/a.csv")
        with self.assertRaisesRegex(InvalidRequest, "zero byte"):
            self.resolve("a\0.csv")

    def test_a_missing_file_lists_what_there_is_bounded(self) -> None:
        for number in range(60):
            (self.root / f"f{number:02d}.npz").write_bytes(b"")
        (self.root / "notes.txt").write_text("not a table")
        with self.assertRaises(InvalidRequest) as caught:
            DataSets(str(self.root)).load("missing.csv")
        message = str(caught.exception)
        self.assertIn("there is no data set 'missing.csv'", message)
        self.assertIn("f00.npz", message)
        self.assertNotIn("notes.txt", message)
        self.assertEqual(message.count(".npz"), allowed_paths.MAX_LISTED)

    def test_without_a_directory_files_are_refused(self) -> None:
        with self.assertRaisesRegex(InvalidRequest, "no data set directory is configured"):
            DataSets(None).load("a.csv")

    def test_an_unknown_name_says_what_exists(self) -> None:
        with self.assertRaisesRegex(InvalidRequest, "unknown data set 'mnist': .*deep/a.csv"):
            DataSets(str(self.root)).load("mnist")
