"""How a process of this machine is told to end."""

import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def asked_to_stop() -> threading.Event:
    """An event that is set when this process is told to end, by Ctrl-C or SIGTERM. Call it in the main thread.

    A service manager ends a service with SIGTERM, and a shell starts background jobs with SIGINT ignored: both count.
    """
    stop = threading.Event()
    for number in SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    return stop
