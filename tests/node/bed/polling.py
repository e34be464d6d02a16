"""Waiting for a fact."""

import time
from collections.abc import Callable
from typing import TypeVar

Fact = TypeVar('Fact')
FIRST_PAUSE = 0.01
LONGEST_PAUSE = 0.5


def poll(fact: Callable[[], Fact | None], deadline: float, what: str) -> Fact:
    """Return the first true value of ``fact``, asked for ``deadline`` seconds at most.

    Raises TimeoutError, which says ``what`` did not come about.
    """
    end = time.monotonic() + deadline
    pause = FIRST_PAUSE
    while True:
        if value := fact():
            return value
        if time.monotonic() > end:
            raise TimeoutError(f'not in {deadline:g} s: {what}')
        time.sleep(pause)
        pause = min(LONGEST_PAUSE, pause * 1.5)
