"""Judge of NestedProved: what a guest that ran a guest says, where one was started."""

import datetime

from nested_agent.drivers.base import Driver
from nested_agent.facts import Observation
from nested_agent.model import ConditionType, Status
from nested_agent.policy import Policy
from nested_agent.proof.finding import Outcome
from nested_agent.proof.result import Proof
from nested_agent.verify.judgement import Judgement, Remedy, false, true, vendor_module

_REASONS = {
    Outcome.PROVED: 'Proved',
    Outcome.REFUSED: 'Refused',
    Outcome.FAILED: 'Failed',
}


def nested_proved(
    observation: Observation,
    policy: Policy,
    driver: Driver | None,
    runtime: Judgement,
    proof: Proof | None,
) -> tuple[Judgement, ...]:
    """Judge by the last proof; there is no such condition where none applies any more.

    Where NestedRuntime is not as wanted either, its remedy is the one: a reload ends this proof.
    Where it is, the witnesses and the guest disagree, and no action of ours can settle that.

    :param runtime: the judgement of NestedRuntime
    """
    if proof is None or not _applies(proof, observation, driver):
        return ()
    type_ = ConditionType.NESTED_PROVED
    outcome = proof.finding.outcome
    reason = _REASONS[outcome]
    moment = datetime.datetime.fromtimestamp(proof.time, datetime.UTC)
    message = f'{proof.finding.message} (tried {moment:%Y-%m-%d %H:%M:%SZ})'
    # A guest that can switch virtualization on, though nothing comes of it, is not refused.
    wanted = Outcome.PROVED if policy.wanted else Outcome.REFUSED
    if outcome is wanted:
        return (true(type_, reason, message, str(outcome)),)
    if runtime.condition.status is not Status.TRUE:
        return (false(type_, reason, message, Remedy.NONE, str(outcome)),)
    message = f'{message}; {_advice(observation, policy, outcome)}'
    return (false(type_, reason, message, Remedy.PERSON, str(outcome)),)


def _applies(proof: Proof, observation: Observation, driver: Driver | None) -> bool:
    module = vendor_module(observation, driver)
    if module is None or not proof.lasting:
        return False
    here = (observation.boot_id, module.name, module.load)
    return (proof.boot_id, proof.module, proof.load) == here


def _advice(observation: Observation, policy: Policy, outcome: Outcome) -> str:
    if not policy.wanted:
        return 'KVM says that it offers no such thing: report this as a defect'
    if outcome is Outcome.REFUSED:
        return 'KVM says that it offers it: report this as a defect'
    hypervisor = getattr(observation.cpu, 'hypervisor', False)
    where = 'in the hypervisor below, ' if hypervisor else ''
    return f'KVM offers what does not work here: look {where}in the firmware and at the kernel'
