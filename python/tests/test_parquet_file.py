"""Parquet files as a trainer sees them, in a real child. Needs pyarrow (see `tests`)."""

import subprocess
import unittest
from pathlib import Path

from .driver import PYTHON, Child, Message


class ParquetFiles(unittest.TestCase):
    child: Child
    directory: Path

    @classmethod
    def setUpClass(cls) -> None:
        cls.child = Child()
        cls.addClassCleanup(cls.child.__exit__)
        cls.directory = cls.child.directory / "data"
        cls.directory.mkdir()
        cls.child.set_up_with_trainers(dataset_dir=str(cls.directory))

    def write(self, name: str, columns: str, options: str = "") -> str:
        """`columns` is Python text of a dictionary; `options` of keyword arguments."""
        code = (
            "import sys, pyarrow as pa; from pyarrow import parquet; "
            f"parquet.write_table(pa.table({columns}), sys.argv[1], {options})"
        )
        subprocess.run([PYTHON, "-c", code, str(self.directory / name)], check=True, timeout=60)
        return name

    def describe(self, name: str) -> Message:
        outcome = self.child.train("probes:describes_its_data_set", dataset_id=name)
        self.assertEqual(outcome.result["status"], "succeeded", outcome.failure)
        return outcome.result["metrics"]  # type: ignore[no-any-return]

    def refuse(self, name: str) -> str:
        failure = self.child.train("probes:describes_its_data_set", dataset_id=name).failure
        self.assertEqual(failure["class"], "validation", failure)
        return str(failure["message"])

    def test_a_file_is_a_classification_or_a_regression_by_its_target(self) -> None:
        x = "'a': list(range(20)), 'b': [0.5] * 20"
        for name, target, classes in [
            ("text.parquet", "['cat', 'dog'] * 10", 2),
            ("whole.parquet", "[0, 1, 2, 3] * 5", 4),
            ("bool.parquet", "[True, False] * 10", 2),
            ("real.parquet", "[n / 7 for n in range(20)]", 0),
            ("codes.parquet", "pa.array(['cat', 'dog'] * 10).dictionary_encode()", 2),
        ]:
            with self.subTest(name=name):
                told = self.describe(self.write(name, f"{{{x}, 'target': {target}}}"))
                shape = (told["rows"], told["columns"], told["classes"])
                self.assertEqual(shape, (20, 2, classes))

    def test_the_target_is_found_by_its_title_and_row_groups_are_joined(self) -> None:
        columns = "{'label': ['x', 'y'] * 10, 'a': list(range(20))}"
        told = self.describe(self.write("groups.parquet", columns, "row_group_size=3"))
        self.assertEqual((told["rows"], told["columns"], told["classes"]), (20, 1, 2))

    def test_a_row_group_without_a_row_is_nothing(self) -> None:
        code = (
            "import sys, pyarrow as pa; from pyarrow import parquet; "
            "table = pa.table({'a': list(range(20)), 'target': ['x', 'y'] * 10}); "
            "file = parquet.ParquetWriter(sys.argv[1], table.schema); "
            "[file.write_table(part) for part in (table, table.slice(0, 0), table)]; file.close()"
        )
        path = self.directory / "empty_group.parquet"
        subprocess.run([PYTHON, "-c", code, str(path)], check=True, timeout=60)
        told = self.describe("empty_group.parquet")
        self.assertEqual((told["rows"], told["classes"]), (40, 2))

    def test_a_text_that_is_no_label_is_refused_by_its_row_and_not_written_out(self) -> None:
        labels = "['x', 'y'] * 10 + ['w' * 100000] * 5000"
        name = self.write("long.parquet", f"{{'a': list(range(5020)), 'target': {labels}}}")
        self.assertIn("row 21, column 'target': the target has 100000", self.refuse(name))
        for kind in ("pa.string()", "pa.large_string()"):
            labels = f"pa.array(['x', 'long' * 200] * 10, {kind})"
            name = self.write("short.parquet", f"{{'a': list(range(20)), 'target': {labels}}}")
            self.assertEqual(self.describe(name)["classes"], 2)

    def test_what_is_wrong_is_named_by_row_and_column(self) -> None:
        for name, columns, words in [
            ("p1", "{'a': [1.0, None, 3.0], 'target': [0, 1, 0]}", "row 2, column 'a'"),
            ("p2", "{'a': [1.0, 2.0, float('nan')], 'target': [0, 1, 0]}", "row 3, column 'a'"),
            ("p3", "{'a': ['x', 'y'], 'target': [0, 1]}", "column 'a': the type string"),
            ("p4", "{'a': [1, 2], 'target': ['x', None]}", "row 2, column 'target'"),
            ("p5", "{'a': [1, 2], 'target': [b'x', b'y']}", "the type binary is no target"),
            ("p6", "{'a': [1, 2]}", "2 rows of 1 columns"),
            ("p7", "{'a': pa.array([], 'int64'), 'target': pa.array([], 'int64')}", "0 rows"),
        ]:
            with self.subTest(name=name):
                file = self.write(f"{name}.parquet", columns, "row_group_size=2")
                self.assertIn(words, self.refuse(file))

    def test_what_is_no_parquet_file_is_refused(self) -> None:
        (self.directory / "text.parquet").write_text("a,b\n1,2\n")
        self.assertIn("not a readable Parquet file", self.refuse("text.parquet"))
        whole = (
            self.directory / self.write("cut.parquet", "{'a': [1], 'target': [1]}")
        ).read_bytes()
        (self.directory / "cut.parquet").write_bytes(whole[: len(whole) // 2])
        self.assertIn("not a readable Parquet file", self.refuse("cut.parquet"))

    def test_without_pyarrow_the_failure_names_the_remedy(self) -> None:
        hidden = self.child.directory / "hidden"
        hidden.mkdir()
        (hidden / "pyarrow.py").write_text("raise ImportError('none here')")
        (self.directory / "any.parquet").write_text("any")
        with Child() as child:
            child.set_up(
                dataset_dir=str(self.directory),
                extra_paths=[str(hidden), str(Path(__file__).parent / "fixtures")],
            )
            failure = child.train("probes:describes_its_data_set", dataset_id="any.parquet").failure
        self.assertEqual(failure["class"], "dependency", failure)
        self.assertIn("install pyarrow into that environment", failure["message"])
