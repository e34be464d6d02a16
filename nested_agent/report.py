"""Observation, verdict and plan put together: the Report of one verification."""

import dataclasses
from typing import Any, NamedTuple

from nested_agent.drivers import loader
from nested_agent.drivers.base import Driver
from nested_agent.facts import Observation
from nested_agent.model import Remediation, Report, to_plain
from nested_agent.node.observe import Last, Sources, observe
from nested_agent.node.root import Root
from nested_agent.plan import plan
from nested_agent.policy import Policy
from nested_agent.proof.result import Proof
from nested_agent.verify import Verdict, remediable, verify, with_remediable
from nested_agent.verify.nova_running import running


class Judged(NamedTuple):
    """One verification with all it rests on."""

    observation: Observation
    driver: Driver | None
    policy: Policy
    verdict: Verdict
    report: Report


def make_report(
    root: Root,
    drivers: loader.Loaded,
    sources: Sources,
    policy: Policy,
    previous: Report | None = None,
    remediation: Remediation | None = None,
    proof: Proof | None = None,
) -> Report:
    """Observe the node, verify it and plan; nothing is changed."""
    last = Last(previous.host, previous.boot_id) if previous else None
    observation, driver = observe(root, drivers, sources, last)
    return judge(observation, driver, policy, previous, remediation, proof).report


def judge(
    observation: Observation,
    driver: Driver | None,
    policy: Policy,
    previous: Report | None,
    remediation: Remediation | None = None,
    proof: Proof | None = None,
) -> Judged:
    """Verify an observation and plan.

    :param previous: the last report, from which ``since`` and what nova-compute is known to run
        with are carried on
    :param remediation: what is known of earlier fixes; None: nothing, and nothing is judged of it
    :param proof: the last proof on this node
    """
    verdict = verify(observation, policy, driver, previous, proof)
    actions = plan(observation, policy, driver, verdict)
    if remediation is not None:
        judgement = remediable(remediation, actions, observation)
        verdict = with_remediable(verdict, judgement, observation, previous)
    report = Report(
        host=observation.host,
        time=observation.time,
        boot_id=observation.boot_id if isinstance(observation.boot_id, str) else None,
        driver=observation.driver,
        policy=_plain_policy(policy),
        state=verdict.state,
        conditions=verdict.conditions,
        plan=actions,
        observation=_plain_observation(observation),
        nova_running=running(observation, previous),
        remediation=remediation,
    )
    return Judged(observation, driver, policy, verdict, report)


def first(report: Report) -> Report:
    """Return a first report as a daemon's: what is so is so since it began to look."""
    conditions = tuple(dataclasses.replace(each, since=report.time) for each in report.conditions)
    return dataclasses.replace(report, conditions=conditions)


def _plain_policy(policy: Policy) -> dict[str, Any]:
    minimum = '.'.join(str(number) for number in policy.minimum_kernel)
    plain = {field.name: getattr(policy, field.name) for field in dataclasses.fields(policy)}
    return {**{key: str(value) for key, value in plain.items()}, 'minimum_kernel': minimum}


def _plain_observation(observation: Observation) -> dict[str, Any]:
    plain = to_plain(observation)
    assert isinstance(plain, dict)  # noqa: S101  # for the type checker
    return plain
