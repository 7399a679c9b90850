"""Damaged data files are read or refused, whatever is wrong. Needs numpy and pyarrow."""

import subprocess
import unittest

from . import FIXTURES, SOURCE
from .driver import PYTHON


class DamagedFiles(unittest.TestCase):
    def test_every_damaged_file_is_read_or_refused_in_little_memory(self) -> None:
        for kind, count in [("csv", 1000), ("npz", 1500), ("repacked", 500), ("parquet", 1000)]:
            with self.subTest(kind=kind):
                reading = subprocess.run(
                    [
                        PYTHON,
                        "-W",
                        "ignore",
                        str(FIXTURES / "damages.py"),
                        str(SOURCE),
                        kind,
                        str(count),
                    ],
                    capture_output=True,
                    text=True,
                    timeout=120,
                )
                self.assertEqual((reading.stdout, reading.returncode), ("", 0), reading.stderr)
