"""Data sets the worker has found: their content is fixed. Needs scikit-learn (see `tests`)."""

import hashlib
import os
import unittest
from pathlib import Path
from typing import Dict

from .driver import Child, Message

TABLE = "a,target\n" + "".join(f"{n},{'xy'[n % 2]}\n" for n in range(20))


class Located(unittest.TestCase):
    child: Child

    @classmethod
    def setUpClass(cls) -> None:
        cls.child = Child()
        cls.addClassCleanup(cls.child.__exit__)
        cls.child.set_up_with_trainers()

    def write(self, name: str, text: str = TABLE) -> Dict[str, str]:
        path = self.child.directory / name
        path.write_text(text)
        return located(path, "data.csv")

    def call(self, dataset: Dict[str, str]) -> Message:
        return self.child.train(
            "probes:describes_its_data_set", dataset_id="artifact:r/t/data.csv", dataset=dataset
        ).result

    def refuse(self, dataset: Dict[str, str]) -> str:
        failure = self.call(dataset)["failure"]
        self.assertEqual(failure["class"], "validation")
        return str(failure["message"])

    def test_a_file_is_read_from_where_the_worker_found_it(self) -> None:
        metrics = self.call(self.write("anywhere.csv"))["metrics"]
        self.assertEqual((metrics["rows"], metrics["loaded_once"]), (20.0, 1.0))

    def test_a_file_that_changed_meanwhile_is_refused(self) -> None:
        dataset = self.write("changes.csv")
        (self.child.directory / "changes.csv").write_text(TABLE + "20,x\n")
        self.assertIn("has changed since the run began", self.refuse(dataset))

    def test_a_file_that_is_gone_is_refused(self) -> None:
        dataset = self.write("goes.csv", TABLE + "21,y\n")
        os.remove(dataset["path"])
        self.assertIn("is gone", self.refuse(dataset))

    def test_what_is_in_memory_is_not_read_again(self) -> None:
        first = self.write("one.csv", TABLE + "22,x\n22,x\n")
        self.call(first)
        os.remove(first["path"])
        self.assertEqual(self.call(first)["status"], "succeeded")


def located(path: Path, name: str) -> Dict[str, str]:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"name": name, "path": str(path), "sha256": sha256}
