"""Tests of the client: `python -m unittest` in the directory above.

They need nats-py and fastavro, a real nats-server (CEREBROS_TEST_NATS_SERVER names the program) and, for
those in `test_worker`, a broker with a worker on it (CEREBROS_TEST_NATS_URL). All of that comes with
`cargo test -p cerebros --test it foreign`. A test whose surroundings are missing fails and says so.
"""

import faulthandler
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src"
SCHEMAS = Path(__file__).resolve().parents[3] / "schemas" / "avro"

if str(SOURCE) not in sys.path:
    sys.path.insert(0, str(SOURCE))

TEST_SECONDS = 150


def begin_test() -> None:
    """A test that hangs from here on ends the tests, and the stack of every thread is printed."""
    faulthandler.dump_traceback_later(TEST_SECONDS, exit=True)


# Loading them, too, may hang.
begin_test()
