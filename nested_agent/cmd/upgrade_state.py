"""What survives a restart, as the next release will find it. Reads only."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from oslo_upgradecheck.upgradecheck import Code

from nested_agent.actions.changes import Changes
from nested_agent.exceptions import ProofFormatError, RecordError, ReportFormatError
from nested_agent.lock import REMEDIATION, held_exclusively
from nested_agent.proof import result
from nested_agent.remediation.history import History
from nested_agent.remediation.journal import Journal
from nested_agent.reporting import state_file


class Finding(NamedTuple):
    """Something that was found out.

    :ivar text: one sentence for people
    """

    code: Code
    text: str


def findings(state_dir: Path) -> Iterator[Finding]:
    """Yield what is not as it should be.

    :raises FileNotFoundError: there is no such directory
    """
    yield from _directory(state_dir)
    # Without these nothing is fixed, or can be reverted, until a person has acted.
    history = History(state_dir)
    changes = Changes(state_dir)
    for read in (history.runs, history.control, changes.files):
        yield from _readable(read, Code.FAILURE)
    yield from _interrupted(state_dir)
    # Without these the agent knows less, for a while.
    yield from _readable(lambda: state_file.read(state_dir), Code.WARNING)
    yield from _readable(lambda: result.read(state_dir), Code.WARNING)


def _directory(path: Path) -> Iterator[Finding]:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise
    except OSError as error:
        yield Finding(Code.FAILURE, f'{path}: {error.strerror}')
        return
    if not stat.S_ISDIR(found.st_mode):
        yield Finding(Code.FAILURE, f'{path} is not a directory')
    if found.st_uid not in (0, os.geteuid()):
        yield Finding(
            Code.WARNING, f'{path} belongs to user {found.st_uid}: what root does is written there'
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        yield Finding(Code.WARNING, f'{path} has mode {mode:04o}: others than root can write there')


def _readable(read: Callable[[], object], code: Code) -> Iterator[Finding]:
    try:
        read()
    except (ProofFormatError, RecordError, ReportFormatError) as error:
        yield Finding(code, str(error))


def _interrupted(state_dir: Path) -> Iterator[Finding]:
    try:
        record = Journal(state_dir).read()
    except RecordError as error:
        yield Finding(Code.FAILURE, str(error))
        return
    if record is None:
        return
    run = record.header.id
    if held_exclusively(state_dir / REMEDIATION):
        yield Finding(Code.WARNING, f'run {run} is under way: wait for its end')
    elif record.problem:
        yield Finding(
            Code.WARNING, f'run {run} was interrupted and cannot be put right: {record.problem}'
        )
    else:
        yield Finding(
            Code.WARNING,
            f'run {run} was interrupted: let the agent that made it put it right first (start it)',
        )
