"""Tests of the child runtime: `python -m unittest` in the directory above, nothing to install.

Unit tests run in this interpreter. Protocol, trainer and data set tests start the real child
with CEREBROS_TEST_PYTHON, or this interpreter, and speak frames with it.
"""

import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src"
FIXTURES = Path(__file__).resolve().parent / "fixtures"

if str(SOURCE) not in sys.path:
    sys.path.insert(0, str(SOURCE))
