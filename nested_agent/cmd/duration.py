"""Durations as people write them: ``90s``, ``30m``, ``1h30m``, ``2d``."""

import argparse
import re

from nested_agent.rpc import api

SECONDS = {'d': 86400, 'h': 3600, 'm': 60, 's': 1}
PATTERN = re.compile(r'(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?', re.ASCII)

FOREVER = 'forever'


def duration(text: str) -> float | None:
    """Return seconds; None for ``forever``."""
    if text == FOREVER:
        return None
    match = PATTERN.fullmatch(text)
    parts = match.groups(default='0') if match and text else ()
    seconds = sum(int(part) * unit for part, unit in zip(parts, SECONDS.values(), strict=False))
    if not 0 < seconds <= api.PAUSE_MOST_SECONDS:
        raise argparse.ArgumentTypeError(
            f'{text[:40]!r} is not a duration of up to a year such as 90s, 30m, 1h30m or 2d, '
            f'nor "{FOREVER}"'
        )
    return float(seconds)
