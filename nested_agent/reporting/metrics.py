"""A Report as metrics of Prometheus; what each of them means: doc/source/reference/metrics.rst."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from nested_agent.model import (
    Condition,
    ConditionType,
    Remediation,
    Report,
    Result,
    State,
    Status,
    Trigger,
)

#: Runs by what made them begin and what became of them.
Runs = Mapping[tuple[Trigger, Result], int]

#: The module that every vendor's module uses; its own users are those modules.
COMMON_MODULE = 'kvm'


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """What is told.

    :ivar release: of the agent
    :ivar interval: seconds between two verifications
    :ivar duration: seconds that the last one took
    :ivar failures: verifications that a defect of ours ended, since the daemon began
    :ivar runs: of all triggers and results, since the daemon began
    """

    report: Report
    release: str
    interval: float
    duration: float
    failures: int
    runs: Runs


class Past(Collector):
    """What stays true when nobody verifies any more."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        told = self._snapshot
        yield _info('nested_agent_build_info', 'Release of the agent.', {'version': told.release})
        yield GaugeMetricFamily(
            'nested_agent_last_verification_timestamp_seconds',
            'When the node was last observed.',
            told.report.time,
        )
        yield GaugeMetricFamily(
            'nested_agent_verification_interval_seconds',
            'Time between two verifications while nothing changes.',
            told.interval,
        )
        yield GaugeMetricFamily(
            'nested_agent_verification_duration_seconds',
            'How long the last verification took.',
            told.duration,
        )
        yield CounterMetricFamily(
            'nested_agent_verification_failures',
            'Verifications that a defect of the agent ended.',
            told.failures,
        )
        runs = CounterMetricFamily(
            'nested_agent_remediation_runs',
            'Runs that the history of remediation gained.',
            labels=('trigger', 'result'),
        )
        for words, count in told.runs.items():
            runs.add_metric(words, count)
        yield runs


class Present(Collector):
    """What the report says of the node as it is."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; of a verification that failed only that nothing is known."""
        report = self._report
        yield from _state(report.state, report.state_since)
        yield from _conditions(report.conditions)
        if report.observation is None:
            return
        if 'nested' in report.policy:
            yield _info(
                'nested_agent_policy_info',
                'What the operator wants of the node.',
                {'nested': report.policy['nested']},
            )
        yield GaugeMetricFamily(
            'nested_agent_planned_actions', 'Actions in the plan.', len(report.plan)
        )
        yield from _contested(report.conditions)
        if report.remediation is not None:
            yield from _remediation(report.remediation)
        count = holders(report.observation)
        if count is not None:
            yield GaugeMetricFamily('nested_agent_kvm_holders', 'Processes that hold KVM.', count)


def text(*collectors: Collector) -> bytes:
    """Return metrics in the text format of Prometheus, version 0.0.4."""
    registry = CollectorRegistry()
    for each in collectors:
        registry.register(each)
    return generate_latest(registry)


def holders(observation: Mapping[str, Any]) -> int | None:
    """Return how many processes hold KVM; None where the report does not know."""
    found, modules = observation.get('holders'), observation.get('modules')
    if isinstance(found, Mapping):
        complete = found.get('unreadable') == 0
        return len(found['processes']) if complete else None
    if found is not None or not isinstance(modules, Mapping) or 'unread' in modules:
        return None
    # They are not looked for where the module is not loaded, or its count of users says 0.
    counts = [each['refcnt'] for name, each in modules.items() if name != COMMON_MODULE]
    return 0 if all(count == 0 for count in counts) else None


def _state(state: State, since: float | None) -> Iterator[Metric]:
    yield _one_of('nested_agent_state', 'Whether the node is in this state.', 'state', State, state)
    if since is None:
        return
    yield GaugeMetricFamily(
        'nested_agent_state_since_timestamp_seconds', 'When the state became what it is.', since
    )
    if state is State.PENDING:
        yield GaugeMetricFamily(
            'nested_agent_pending_since_timestamp_seconds', 'When the node became pending.', since
        )


def _conditions(conditions: Sequence[Condition]) -> Iterator[Metric]:
    status = GaugeMetricFamily(
        'nested_agent_condition_status',
        'Whether the condition has this status.',
        labels=('condition', 'status'),
    )
    reason = GaugeMetricFamily(
        'nested_agent_condition_reason_info',
        'The reason of the condition.',
        labels=('condition', 'reason'),
    )
    for each in conditions:
        for one in Status:
            status.add_metric((each.type, one.lower()), float(each.status is one))
        reason.add_metric((each.type, each.reason), 1)
    yield status
    yield reason


def _contested(conditions: Iterable[Condition]) -> Iterator[Metric]:
    for each in conditions:
        if each.type is ConditionType.REMEDIABLE and each.status is not Status.UNKNOWN:
            yield GaugeMetricFamily(
                'nested_agent_contested',
                'Whether something else changes a fix back again and again.',
                float(each.reason == 'Contested'),
            )


def _remediation(remediation: Remediation) -> Iterator[Metric]:
    yield _info(
        'nested_agent_remediation_mode_info',
        'What the agent does by itself.',
        {'mode': remediation.mode},
    )
    pause = remediation.pause
    yield GaugeMetricFamily(
        'nested_agent_paused', 'Whether fixes are paused.', float(pause is not None)
    )
    if pause is not None and pause.until is not None:
        yield GaugeMetricFamily(
            'nested_agent_pause_until_timestamp_seconds', 'When the pause ends.', pause.until
        )


def _info(name: str, about: str, labels: Mapping[str, str]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=tuple(labels))
    family.add_metric(tuple(labels.values()), 1)
    return family


def _one_of(name: str, about: str, label: str, words: Iterable[str], word: str) -> Metric:
    family = GaugeMetricFamily(name, about, labels=(label,))
    for each in words:
        family.add_metric((each,), float(each == word))
    return family
