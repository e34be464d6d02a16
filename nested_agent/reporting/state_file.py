"""The last Report on disk, ``report.json`` in the state directory.

Written by the daemon alone, whole or not at all; every local user may read it.
"""

import dataclasses
import json
from pathlib import Path

from nested_agent import durable
from nested_agent.exceptions import ReportFormatError
from nested_agent.model import Report

NAME = 'report.json'

#: A report is stale when it is older than this many intervals of the daemon that wrote it.
STALE_INTERVALS = 3

#: Bytes. A report is some 10 kB.
LIMIT = 4 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """What the file holds.

    :ivar interval: seconds between verifications of the daemon that wrote it
    :ivar running: False once that daemon has stopped in an orderly way
    """

    report: Report
    interval: float
    running: bool = True

    def stale(self, now: float, boot_id: str | None) -> str | None:
        """Return why the report says nothing about the present any more, or None.

        :param now: seconds since the epoch
        :param boot_id: of the present boot
        """
        if not self.running:
            return 'the agent was stopped'
        if boot_id is not None and self.report.boot_id not in (None, boot_id):
            return 'the node was rebooted since'
        age = now - self.report.time
        if age > STALE_INTERVALS * self.interval:
            return f'it is {age:.0f} s old, and the agent verifies every {self.interval:g} s'
        return None


def read(state_dir: Path) -> Stored | None:
    """Return what was stored last, or None if there is nothing yet.

    :raises ReportFormatError: it is there but cannot be read or understood; names the file
    """
    file = state_dir / NAME
    try:
        data = json.loads(durable.content(file, LIMIT))
        if not isinstance(data, dict):
            raise ReportFormatError(f'a mapping is expected, not {type(data).__name__}')
        report = Report.from_dict(data.get('report'))
        return Stored(report, float(data['interval']), bool(data['running']))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReportFormatError(f'{file}: {error.strerror}') from error
    except KeyError as error:
        raise ReportFormatError(f'{file}: there is no {error}') from error
    except (TypeError, ValueError, OverflowError, RecursionError, ReportFormatError) as error:
        raise ReportFormatError(f'{file}: {error}') from error


def write(state_dir: Path, stored: Stored) -> None:
    """Replace the file, in one step.

    :raises OSError: it could not be written; the old one is as it was
    """
    data = {
        'report': stored.report.to_dict(),
        'interval': stored.interval,
        'running': stored.running,
    }
    # Not synced: the next one comes soon, and after a power cut it is stale anyway.
    durable.replace(state_dir / NAME, json.dumps(data).encode(), synced=False)
