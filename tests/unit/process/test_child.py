"""A child is asked to stop by a signal, whatever its main thread is doing."""

from __future__ import annotations

import os
import signal
import threading
import time

from service.process import child


def test_a_signal_at_any_moment_of_waiting_is_heard() -> None:
    for _ in range(300):
        with child.stopping() as stop:
            teller = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGTERM))
            teller.start()
            begun = time.monotonic()
            while not stop.wait(0.0001):
                assert time.monotonic() - begun < 20, "the signal was not heard"
            teller.join()
            assert stop.is_set()


def test_nothing_is_heard_where_nobody_asked() -> None:
    with child.stopping() as stop:
        assert not stop.wait(0.001)
        stop.set()
        assert stop.wait(20)
