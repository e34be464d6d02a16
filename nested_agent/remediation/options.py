"""What the operator allows: group ``[remediation]``, typed."""

import dataclasses
import enum


class Mode(enum.StrEnum):
    """What the daemon does by itself about what differs."""

    OFF = 'off'
    NOOP = 'noop'
    ENFORCE = 'enforce'


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """The options of group ``[remediation]``; times in seconds. See ``conf/remediation.py``."""

    mode: Mode = Mode.NOOP
    splay: float = 120.0
    attempts: int = 3
    backoff: float = 60.0
    backoff_limit: float = 3600.0
    contest_limit: int = 3
    contest_period: float = 86400.0
    nova_timeout: float = 300.0
    nova_settle: float = 30.0
