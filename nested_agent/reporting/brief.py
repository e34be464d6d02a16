"""A report as the collector gets it: between 1 and 3 kB of the 10 it has."""

from collections.abc import Mapping
from typing import Any

from nested_agent.model import Report, Status

#: What is left of the observation: what the kernel and the processor are.
FACTS = {'kernel': ('release',), 'cpu': ('vendor', 'model')}


def brief(report: Report) -> dict[str, Any]:
    """Return the report as plain dicts, without what can be asked of the node itself.

    Left out are the observation but for a few facts, the sentences about conditions that are as
    they should be, every ``observed`` value, and all of the last run but what it came to. It is
    still a report: the same reader understands it.
    """
    plain = report.to_dict()
    plain['observation'] = _facts(report.observation)
    plain['nova_running'] = None
    for condition in plain['conditions']:
        condition['observed'] = None
        if condition['status'] == Status.TRUE:
            condition['message'] = ''
    run = (plain['remediation'] or {}).get('last_run')
    if run:
        run.update(outcomes=[], before={}, after={})
    return plain


def _facts(observation: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if observation is None:
        return None
    return {part: _some(observation.get(part), names) for part, names in FACTS.items()}


def _some(fact: object, names: tuple[str, ...]) -> dict[str, Any]:
    # An Unread fact has none of the names.
    return {name: fact.get(name) for name in names} if isinstance(fact, Mapping) else {}
