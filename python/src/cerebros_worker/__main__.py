"""`python -m cerebros_worker`: the child process of a worker's slot.

Not meant to be started by hand: it speaks frames on two descriptors that the worker opens.
The guard at the bottom matters, because process pools that start by spawning import this
file again under another name.
"""

import os
import sys


def main() -> None:
    # `-m` puts the working directory in front of the standard library; a stray `json.py`
    # there must not become part of the runtime.
    if sys.path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    from .session import run  # after the line above, on purpose

    run()


if __name__ == "__main__":
    main()
