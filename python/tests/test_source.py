"""Rules over the source itself."""

import ast
import sys
import unittest
from pathlib import Path
from typing import Iterator, Set

from . import SOURCE

PACKAGE = SOURCE / "cerebros_worker"
MAX_LINES = 400

# Beyond the standard library: the trainer stands on scikit-learn, data sets become arrays.
ALLOWED = {
    "trainers/mlp.py": {"joblib", "numpy", "sklearn"},
    "trainers/mlp_scores.py": {"numpy", "sklearn"},
    "datasets/table.py": {"numpy"},
    "datasets/csv_file.py": {"numpy"},
    "datasets/labels.py": {"numpy"},
    "datasets/npz_file.py": {"numpy"},
    "datasets/parquet_file.py": {"numpy", "pyarrow"},
    "datasets/bundled.py": {"sklearn"},
}
# Imported when a trainer or a data set is loaded, so not at the top of a file.
ONLY_WITHIN_FUNCTIONS = {name for name in ALLOWED if name.startswith("datasets/")}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).split(".")[0]


class Source(unittest.TestCase):
    def files(self) -> "list[Path]":
        found = sorted(PACKAGE.rglob("*.py"))
        self.assertGreater(len(found), 20)
        return found

    def test_the_runtime_stands_on_the_standard_library(self) -> None:
        if not hasattr(sys, "stdlib_module_names"):
            self.assertLess(sys.version_info, (3, 10))
            return  # the list came with 3.10
        for path in self.files():
            name = path.relative_to(PACKAGE).as_posix()
            tree = ast.parse(path.read_text())
            foreign: Set[str] = set(imported(tree)) - set(sys.stdlib_module_names)
            self.assertLessEqual(foreign, ALLOWED.get(name, set()), name)
            if name in ONLY_WITHIN_FUNCTIONS:
                top = ast.Module([n for n in tree.body if "Import" in type(n).__name__], [])
                self.assertLessEqual(set(imported(top)), set(sys.stdlib_module_names), name)

    def test_only_the_streams_module_and_the_session_touch_standard_output(self) -> None:
        for path in self.files():
            if path.name not in ("streams.py", "session.py"):
                text = path.read_text()
                self.assertNotIn("print(", text, path.name)
                self.assertNotIn("sys.stdout", text, path.name)

    def test_every_file_says_what_it_is_for_and_can_be_read_in_one_go(self) -> None:
        for path in self.files():
            text = path.read_text()
            self.assertTrue(ast.get_docstring(ast.parse(text)), path.name)
            self.assertLessEqual(text.count("\n"), MAX_LINES, path.name)
