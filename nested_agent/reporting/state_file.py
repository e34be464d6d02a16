"""The last Report on disk, ``report.json`` in the state directory."""

import json
from pathlib import Path

from nested_agent.exceptions import ReportFormatError
from nested_agent.model import Report

NAME = 'report.json'


def read(state_dir: Path) -> Report | None:
    """Return the last report, or None if there is none yet.

    :raises ReportFormatError: it is there but cannot be read or understood; names the file
    """
    file = state_dir / NAME
    try:
        return Report.from_dict(json.loads(file.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReportFormatError(f'{file}: {error.strerror}') from error
    except (ValueError, ReportFormatError) as error:
        raise ReportFormatError(f'{file}: {error}') from error
