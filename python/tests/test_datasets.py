"""Data sets as a trainer sees them, in a real child. Needs scikit-learn (see `tests`)."""

import csv
import os
import random
import subprocess
import unittest
from pathlib import Path
from typing import Any, List, Optional

from .driver import PYTHON, Child, Message


def write_csv(path: Path, rows: List[List[Any]]) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)


class DataSets(unittest.TestCase):
    child: Child
    directory: Path

    @classmethod
    def setUpClass(cls) -> None:
        cls.child = Child()
        cls.addClassCleanup(cls.child.__exit__)
        cls.directory = cls.child.directory / "data"
        cls.directory.mkdir()
        write_csv(cls.directory / "first.csv", [["a", "target"], [1, "x"]])
        cls.child.set_up_with_trainers(dataset_dir=str(cls.directory))

    def describe(self, name: str) -> Message:
        outcome = self.child.train("probes:describes_its_data_set", dataset_id=name)
        self.assertEqual(outcome.result["status"], "succeeded", outcome.failure)
        metrics = outcome.result["metrics"]
        self.assertEqual(metrics["loaded_once"], 1.0)
        self.assertEqual(
            metrics["train"] + metrics["validation"] + metrics["test"], metrics["rows"]
        )
        return metrics  # type: ignore[no-any-return]

    def refuse(self, name: str) -> str:
        failure = self.child.train("probes:describes_its_data_set", dataset_id=name).failure
        self.assertEqual(failure["class"], "validation", failure)
        return str(failure["message"])

    def write_npz(self, name: str, arrays: str, before: str = "pass") -> str:
        code = f"import numpy as np; {before}; np.savez(__import__('sys').argv[1], {arrays})"
        path = self.directory / name
        subprocess.run([PYTHON, "-c", code, str(path)], check=True, timeout=60)
        return name

    def write_table(self, name: str, target: List[Any], header: Optional[List[str]] = None) -> str:
        dice = random.Random(3)
        rows: List[List[Any]] = [header or ["a", "b", "target"]]
        rows += [[dice.random(), dice.random(), value] for value in target]
        write_csv(self.directory / name, rows)
        return name

    def test_the_bundled_sets_have_their_known_shapes(self) -> None:
        for name, rows, columns, classes in [
            ("digits", 1797, 64, 10),
            ("iris", 150, 4, 3),
            ("wine", 178, 13, 3),
            ("breast_cancer", 569, 30, 2),
            ("diabetes", 442, 10, 0),
        ]:
            with self.subTest(name=name):
                told = self.describe(name)
                self.assertEqual(
                    (told["rows"], told["columns"], told["classes"]), (rows, columns, classes)
                )
                self.assertAlmostEqual(told["test"] / rows, 0.2, places=2)
                self.assertAlmostEqual(told["validation"] / rows, 0.2, places=2)

    def test_the_split_is_the_same_in_every_process_and_for_every_seed(self) -> None:
        here = self.describe("iris")
        with Child() as other:
            other.set_up_with_trainers()
            there = other.train("probes:describes_its_data_set", dataset_id="iris", seed=99).result[
                "metrics"
            ]
        self.assertEqual(here, there)

    def test_a_csv_file_is_a_classification_or_a_regression_by_its_target(self) -> None:
        for name, target, classes in [
            ("text.csv", ["cat", "dog"] * 10, 2),
            ("few.csv", [0, 1, 2, 3] * 5, 4),
            ("mixed.csv", ["1", "two"] * 5, 2),
            ("real.csv", [n / 7 for n in range(20)], 0),
            ("many.csv", list(range(20)), 0),
        ]:
            with self.subTest(name=name):
                told = self.describe(self.write_table(name, target))
                self.assertEqual(
                    (told["rows"], told["columns"], told["classes"]), (len(target), 2, classes)
                )

    def test_mlp_predicts_the_labels_of_a_csv_file(self) -> None:
        rows: List[List[Any]] = [["label", "size"]]
        rows += [["small" if n < 50 else "large", n] for n in range(100)]
        write_csv(self.directory / "sizes.csv", rows)
        outcome = self.child.train("mlp", {"learning_rate": 0.05}, dataset_id="sizes.csv")
        self.assertGreater(outcome.result["value"], 0.8, outcome.failure)
        path = outcome.of_type("artifact")[0]["path"]
        scored = self.child.train("probes:scores_a_model", {"path": path}, dataset_id="sizes.csv")
        self.assertEqual(scored.result["value"], outcome.result["metrics"]["test_accuracy"])

    def test_a_changed_file_is_read_again(self) -> None:
        self.assertEqual(self.describe(self.write_table("grows.csv", [0, 1] * 5))["rows"], 10)
        self.assertEqual(self.describe(self.write_table("grows.csv", [0, 1] * 6))["rows"], 12)

    def test_npz_files_hold_x_and_y(self) -> None:
        for name, arrays, shape in [
            ("whole.npz", "X=np.arange(40).reshape(20, 2), y=np.arange(20) % 2", (20, 2, 2)),
            ("real.npz", "X=np.ones((20, 3)), y=np.linspace(0, 1, 20)", (20, 3, 0)),
            ("text.npz", "X=np.ones((20, 3)), y=np.array(['a', 'b'] * 10)", (20, 3, 2)),
            ("images.npz", "X=np.ones((20, 4, 4), 'u1'), y=np.arange(20) % 2 == 0", (20, 16, 2)),
            ("column.npz", "X=np.ones((20, 1)), y=np.arange(20).reshape(-1, 1) % 2", (20, 1, 2)),
        ]:
            with self.subTest(name=name):
                told = self.describe(self.write_npz(name, arrays))
                self.assertEqual((told["rows"], told["columns"], told["classes"]), shape)

    def test_an_npz_file_that_is_no_table_is_refused_with_the_reason(self) -> None:
        for name, arrays, words in [
            ("n1.npz", "X=np.ones((4, 2))", "no array y; the file holds X"),
            ("n2.npz", "X=np.ones((4, 2)), y=np.ones(5)", "a target of 5 rows"),
            ("n3.npz", "X=np.full((4, 2), np.nan), y=np.ones(4)", "X[0, 0] is NaN"),
            ("n4.npz", "X=np.ones((4, 2)), y=np.full(4, np.inf)", "target contains NaN"),
            ("n5.npz", "X=np.array([['a']] * 4), y=np.ones(4)", "rows of real numbers"),
            ("n6.npz", "X=np.ones((4, 2)), y=np.ones((4, 2))", "one number or text per row"),
            ("n7.npz", "X=np.ones((4, 0)), y=np.ones(4)", "do not make a table"),
            ("n8.npz", "X=np.ones((8, 2)), y=np.ones(8)", "the target has 1 classes"),
            ("n9.npz", "X=np.ones((8, 2)), y=np.arange(8) // 7", "class 1 has 1 rows"),
        ]:
            with self.subTest(name=name):
                self.assertIn(words, self.refuse(self.write_npz(name, arrays)))
        (self.directory / "text.npz").write_text("not an archive")
        self.assertIn("not a readable NPZ file", self.refuse("text.npz"))

    def test_an_array_that_unpacks_to_too_much_is_refused_before_it_is_read(self) -> None:
        for name, arrays in [
            ("bomb.npz", "X=np.zeros((1 << 14, 1 << 14)), y=np.zeros(1 << 14)"),
            # Small numbers become large ones.
            ("bytes.npz", "X=np.zeros((1 << 14, 1 << 14), 'u1'), y=np.zeros(1 << 14)"),
        ]:
            with self.subTest(name=name):
                write = "np.savez = np.savez_compressed"
                refusal = self.refuse(self.write_npz(name, arrays, before=write))
                self.assertIn(f"'{name}': array X unpacks to 2147483", refusal)

    def test_an_array_whose_head_promises_too_much_is_refused_and_takes_no_room(self) -> None:
        for name, kind, rows in [
            ("text_head.npz", "<U100000", 10**7),
            ("void_head.npz", "|V1000000000", 10**6),
            ("complex_head.npz", "<c16", 10**12),
        ]:
            with self.subTest(name=name):
                head = (
                    "import io, zipfile; f = io.BytesIO(); np.lib.format.write_array_header_1_0("
                    f"f, dict(descr='{kind}', fortran_order=False, shape=({rows},))); "
                    "npy = f.getvalue() + b'8 bytes.'; "
                    "np.savez = lambda to, X, y: [zipfile.ZipFile(to, 'a').writestr(n, npy) "
                    "for n in ('X.npy', 'y.npy')]"
                )
                name = self.write_npz(name, "X=1, y=1", before=head)
                self.assertIn("bytes its head promises", self.refuse(name))

    def test_a_text_that_is_no_label_is_refused_by_its_row(self) -> None:
        long = "w" * 100_000
        rows = [["a", "target"], *([n, "x"] for n in range(5)), [6, long], [7, "x"]]
        write_csv(self.directory / "text.csv", rows)
        self.assertIn("row 7, column 'target': the target has 100000", self.refuse("text.csv"))
        wide = "y=np.array(['a', 'b'] * 9 + ['w' * 1001])"
        name = self.write_npz("wide.npz", f"X=np.ones((19, 1)), {wide}")
        self.assertIn("y[18]: the target has 1001 characters", self.refuse(name))
        # It is the labels that count, not the room they were given.
        roomy = self.write_npz(
            "roomy.npz", "X=np.ones((8, 1)), y=np.array(['a', 'b'] * 4, 'U9999')"
        )
        self.assertEqual(self.describe(roomy)["classes"], 2)
        no_text = "y=np.full(16, 0x110000, 'u4').view('U2')"
        name = self.write_npz("no_text.npz", f"X=np.ones((8, 1)), {no_text}")
        self.assertIn("y[0]: it holds what is no character", self.refuse(name))

    def test_an_npz_file_never_runs_the_code_it_carries(self) -> None:
        mark = self.child.directory / "ran"
        trap = (
            "import os; T = type('T', (), "
            f"{{'__reduce__': lambda s: (os.system, ('touch {mark}',))}})"
        )
        name = self.write_npz("trap.npz", "X=np.array([[T()]], object), y=np.ones(1)", before=trap)
        self.assertIn("not a readable NPZ file", self.refuse(name))
        self.assertFalse(mark.exists())

    def test_a_bad_cell_is_named_by_row_and_column(self) -> None:
        write_csv(self.directory / "bad.csv", [["a", "b", "target"], [1, 2, 0], [1, "oops", 1]])
        self.assertIn("row 3, column 'b': 'oops'", self.refuse("bad.csv"))

    def test_a_way_outside_is_refused_with_the_rule(self) -> None:
        write_csv(self.child.directory / "outside.csv", [["a", "target"], [1, 2]])
        os.symlink(self.child.directory / "outside.csv", self.directory / "link.csv")
        for name in ("../outside.csv", str(self.child.directory / "outside.csv"), "link.csv"):
            self.assertIn("only files of that directory", self.refuse(name))

    def test_a_missing_file_lists_what_there_is(self) -> None:
        self.assertIn("digits, iris, wine, breast_cancer, diabetes, ", self.refuse("missing.csv"))
        self.assertIn("files end in .csv or .npz or .parquet", self.refuse("table.xlsx"))

    def test_ready_names_the_data_sets(self) -> None:
        with Child() as child:
            ready = child.set_up(dataset_dir=str(self.directory))
            self.assertEqual(ready["datasets"][:2], ["digits", "iris"])
            self.assertIn("first.csv", ready["datasets"])
