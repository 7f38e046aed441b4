"""How long tests wait for what has to happen: so long that only what hangs is given up.

No test asserts how long anything takes. On a machine that does a dozen other things a process takes minutes for what
is a second on an idle one, and a shorter patience would tell of the machine and not of the code.
"""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 900.0

T = TypeVar("T")


def until(look: Callable[[], T], done: Callable[[T], object] = bool, every_s: float = 0.05) -> T:
    """Looks again and again until what it sees is `done`, and returns that; raises AssertionError when it hangs."""
    end = time.monotonic() + PATIENCE_S
    while not done(found := look()):
        assert time.monotonic() < end, f"it did not happen; last seen: {found!r}"
        time.sleep(every_s)
    return found
