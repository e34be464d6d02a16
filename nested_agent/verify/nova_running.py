"""Judge of NovaConfigCurrent: whether nova-compute runs with what is on disk.

What a process read when it started cannot be asked of it. It is known if its files, and the
directories it found them in, are older than it is, and stays known for as long as it runs.

Kolla's start script (docker/base/start.sh) copies the files into the container, and then becomes
nova-compute by exec(2), which leaves the start of the process as it was.
"""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from nested_agent.facts import (
    ConfigFile,
    NovaCompute,
    NovaProcess,
    Observation,
    Setting,
    Unread,
)
from nested_agent.model import ConditionType, NovaRunning, Report, to_plain
from nested_agent.verify.judgement import Judgement, Remedy, false, true, unknown, unread
from nested_agent.verify.nova_settings import config_invalid

#: From its start such a script takes a few seconds to copy. What was copied later it has not read.
COPYING_SECONDS = 60.0


def running(observation: Observation, previous: Report | None) -> NovaRunning | None:
    """Return the options the running nova-compute is known to have started with, or None.

    What was known first stays, also that nothing is: later observations may miss a change that left
    no trace, or was made before the clock was set forward.
    """
    nova = observation.nova
    if not isinstance(nova, NovaCompute) or not isinstance(nova.process, NovaProcess):
        return None
    process = nova.process
    if isinstance(process.started, Unread):
        return None
    same_boot = previous is not None and previous.boot_id == observation.boot_id
    known = previous.nova_running if previous and same_boot else None
    if known and (known.pid, known.ticks) == (process.pid, process.ticks):
        return known
    # Of a report before 1.3.
    unnumbered = known and known.ticks is None and known.pid == process.pid
    if known and unnumbered and abs(known.started - process.started) < 1:
        return dataclasses.replace(known, ticks=process.ticks)
    if isinstance(nova.settings, Unread) or isinstance(process.environment, Unread):
        return None
    changed = _changed(nova, _began(process))
    if isinstance(changed, Unread):
        return None
    values = {} if changed else _values(nova.settings)
    return NovaRunning(process.pid, process.started, values, process.ticks)


def nova_config_current(observation: Observation, previous: Report | None) -> Judgement:
    """Judge whether the effective options on disk are those nova-compute runs with."""
    type_ = ConditionType.NOVA_CONFIG_CURRENT
    nova = observation.nova
    if nova is None:
        return unknown(type_, 'NotInstalled', 'no nova-compute and no configuration of one found')
    if isinstance(nova, Unread):
        return unread(type_, nova)
    process = nova.process
    if isinstance(process, Unread):
        return unread(type_, process)
    if process is None:
        if not observation.live:
            return unknown(type_, 'Unreadable', 'a captured tree has no processes')
        return unknown(type_, 'NotRunning', 'nova-compute does not run; start it')
    if nova.others:
        # Also of those with the same arguments each may have started before a change.
        pids = ', '.join(str(pid) for pid in (process.pid, *nova.others))
        message = f'several nova-computes run here (pid {pids}), only the first was looked at'
        return unknown(type_, 'SeveralRunning', message, f'pid {process.pid}')
    if isinstance(process.started, Unread):
        return unread(type_, process.started)
    invalid = config_invalid(type_, nova)
    if invalid:
        return invalid
    if isinstance(nova.settings, Unread):
        return unread(type_, nova.settings)
    changed = _changed(nova, _began(process))
    if isinstance(changed, Unread):
        return unread(type_, changed)
    if not nova.files:
        message = 'nova-compute does not run without a file, and none of its files is there'
        return unknown(type_, 'FilesGone', message, f'pid {process.pid}')
    return _compared(nova.settings, process, changed, running(observation, previous))


def _compared(
    settings: Mapping[str, Setting],
    process: NovaProcess,
    changed: list[ConfigFile],
    known: NovaRunning | None,
) -> Judgement:
    type_ = ConditionType.NOVA_CONFIG_CURRENT
    observed = f'pid {process.pid}'
    # Without its environment the values are not what it would read.
    before = known.settings if known and not isinstance(process.environment, Unread) else {}
    now = _values(settings)
    differ = sorted(name for name in now if name in before and now[name] != before[name])
    told = _told(process, changed)
    unseen = not changed and (differ or (known and not known.settings))
    if unseen:
        told = f'files of nova-compute (pid {process.pid}) were changed or taken away'
    if differ:
        return false(
            type_,
            'RestartNeeded',
            f'{told}: {", ".join(differ)} of the running one differ; restart it',
            Remedy.FIX,
            observed,
        )
    if not changed and not unseen:
        return true(type_, 'StartedAfterChange', told, observed)
    if all(name in now and name in before for name in settings):
        return true(type_, 'SameValues', f'{told}, but not in what matters here', observed)
    return unknown(
        type_,
        'ChangedSinceStart',
        f'{told}: which values it runs with cannot be told; restarting it would make that certain',
        observed,
    )


def _told(process: NovaProcess, changed: list[ConfigFile]) -> str:
    if not changed:
        return f'nova-compute (pid {process.pid}) started after its files were last changed'
    latest = max(changed, key=lambda file: _seconds(file.changed))
    return (
        f'{latest.path} was changed at {_clock(_seconds(latest.changed))}, after nova-compute (pid '
        f'{process.pid}) started at {_clock(_seconds(process.started))}'
    )


def _began(process: NovaProcess) -> float:
    """Return the moment before which its files were as it has read them."""
    started = _seconds(process.started)
    copied = started if process.copied is None else process.copied
    return copied if started < copied <= started + COPYING_SECONDS else started


def _changed(nova: NovaCompute, began: float) -> list[ConfigFile] | Unread:
    """Return the files, and the directories they were searched in, changed after it began."""
    found = (*nova.files, *nova.directories)
    for file in found:
        if isinstance(file.changed, Unread):
            return file.changed
    return [file for file in found if _seconds(file.changed) > began]


def _values(settings: Mapping[str, Setting]) -> Mapping[str, Any]:
    return {
        name: to_plain(setting.value)
        for name, setting in settings.items()
        if not isinstance(setting.value, Unread)
    }


def _seconds(value: float | Unread) -> float:
    return 0.0 if isinstance(value, Unread) else value


def _clock(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime('%Y-%m-%dT%H:%M:%SZ')
