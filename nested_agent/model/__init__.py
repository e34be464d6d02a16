"""The words of every report: Condition, State, Action, Run, Report.

Frozen dataclasses; plain dicts are for the wire and the disk only.
"""

from nested_agent.model.action import Action, ActionKind, Disruption
from nested_agent.model.condition import Condition, ConditionType, State, Status
from nested_agent.model.plain import to_plain
from nested_agent.model.remediation import (
    Contest,
    Outcome,
    Pause,
    Remediation,
    Result,
    Run,
    Trigger,
)
from nested_agent.model.report import SCHEMA_VERSION, NovaRunning, Report

__all__ = [
    'SCHEMA_VERSION',
    'Action',
    'ActionKind',
    'Condition',
    'ConditionType',
    'Contest',
    'Disruption',
    'NovaRunning',
    'Outcome',
    'Pause',
    'Remediation',
    'Report',
    'Result',
    'Run',
    'State',
    'Status',
    'Trigger',
    'to_plain',
]
