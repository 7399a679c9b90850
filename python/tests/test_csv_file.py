"""Reading CSV files, up to the point where numpy takes over."""

import tempfile
import unittest
from pathlib import Path

from cerebros_worker.datasets import csv_file
from cerebros_worker.failures import InvalidRequest


class CsvFiles(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name, "table.csv")

    def parse(self, content: "str | bytes") -> "tuple[int, list[float], list[str]]":
        raw = content.encode() if isinstance(content, str) else content
        self.path.write_bytes(raw)
        width, values, target = csv_file.parse(str(self.path), "table.csv")
        return width, list(values), target

    def test_the_last_column_is_the_target(self) -> None:
        self.assertEqual(
            self.parse("a,b,kind\n1,2,x\n3,4e1,y\n"), (2, [1.0, 2.0, 3.0, 40.0], ["x", "y"])
        )

    def test_a_column_named_target_or_label_is_the_target(self) -> None:
        for name in ("target", "label", " Target "):
            with self.subTest(name=name):
                self.assertEqual(self.parse(f"a,{name},b\n1,x,2\n"), (2, [1.0, 2.0], ["x"]))

    def test_marks_quotes_line_ends_and_blank_lines_are_no_obstacle(self) -> None:
        self.assertEqual(
            self.parse(b'\xef\xbb\xbfa,"b"\r\n"1","x, y"\r\n\r\n2,z\r\n'),
            (1, [1.0, 2.0], ["x, y", "z"]),
        )

    def test_a_cell_that_is_no_number_is_named_by_row_and_column(self) -> None:
        for cell in ("abc", "", "nan", "inf", "1;2"):
            with self.subTest(cell=cell), self.assertRaises(InvalidRequest) as caught:
                self.parse(f"height,width,target\n1,2,x\n3,{cell},y\n")
            self.assertIn(f"row 3, column 'width': {cell!r} is not a finite", str(caught.exception))

    def test_what_is_no_table_is_refused_with_the_reason(self) -> None:
        for content, reason in [
            (b"", "a header row"),
            (b"a\n1\n", "at least one feature and a target"),
            (b"a,target\n", "a header and no rows"),
            (b"1,2\n3,4\n", "row 1 holds numbers"),
            (b"a,b\n1,2,3\n", "row 2: 3 cells, the header has 2"),
            (b"a,b\n1\n", "row 2: 1 cells, the header has 2"),
            (b"a,b\n1, \n", "column 'b': the target is empty"),
            (b"a,b\n\xff\xfe,1\n", "not a readable CSV file"),
            (b'a,b\n"1,2\n', "not a readable CSV file"),
            (b"a,b\n" + b"1" * 200_000 + b",2\n", "not a readable CSV file"),
        ]:
            with self.subTest(content=content[:20]):
                with self.assertRaisesRegex(InvalidRequest, reason):
                    self.parse(content)
