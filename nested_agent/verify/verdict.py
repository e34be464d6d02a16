"""All judges asked, and the State that their answers make."""

import dataclasses

from nested_agent.drivers.base import Driver
from nested_agent.facts import Observation
from nested_agent.model import Condition, ConditionType, Report, State, Status
from nested_agent.policy import Policy
from nested_agent.proof.result import Proof
from nested_agent.verify.host import CANNOT, cpu_supported, kernel_supported, kvm_usable
from nested_agent.verify.judgement import Judgement, Remedy
from nested_agent.verify.nova import guest_cpu, virt_type
from nested_agent.verify.nova_running import nova_config_current
from nested_agent.verify.persistent import nested_persistent
from nested_agent.verify.proved import nested_proved
from nested_agent.verify.runtime import nested_runtime

#: Conditions of nova-compute.
NOVA = (
    ConditionType.VIRT_TYPE,
    ConditionType.GUEST_CPU,
    ConditionType.NOVA_CONFIG_CURRENT,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What verification comes to: every judgement by type in the order shown, and the state."""

    state: State
    judgements: tuple[Judgement, ...]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions, in order."""
        return tuple(each.condition for each in self.judgements)

    def __getitem__(self, type_: ConditionType) -> Judgement:
        return next(each for each in self.judgements if each.condition.type is type_)

    def remedy(self, type_: ConditionType) -> Remedy:
        """Return what it takes to make a condition True; NONE too where it is not judged."""
        remedies = (each.remedy for each in self.judgements if each.condition.type is type_)
        return next(remedies, Remedy.NONE)


def verify(
    observation: Observation,
    policy: Policy,
    driver: Driver | None,
    previous: Report | None = None,
    proof: Proof | None = None,
) -> Verdict:
    """Judge an observation.

    :param driver: the one that :func:`nested_agent.node.observe.observe` returned with it
    :param previous: the last report of this node; without it no condition has a ``since``
    :param proof: the last proof on this node, whether it still applies or not
    """
    cpu = cpu_supported(observation, policy, driver)
    kvm = kvm_usable(observation, policy, driver)
    persistent = nested_persistent(observation, policy, driver)
    runtime = nested_runtime(observation, policy, driver, persistent)
    virt = virt_type(observation, policy, kvm)
    judgements = [
        cpu,
        kernel_supported(observation, policy, driver),
        kvm,
        runtime,
        *nested_proved(observation, policy, driver, runtime, proof),
        persistent,
        guest_cpu(observation, policy, driver, virt),
        virt,
        nova_config_current(observation, previous),
    ]
    if policy.wanted and runtime.remedy is Remedy.WAIT:
        judgements = [_after_the_module(each) for each in judgements]
    cannot = cpu.condition.status is Status.TRUE and cpu.condition.reason in CANNOT
    if not policy.wanted and cannot and runtime.condition.status is Status.TRUE:
        judgements = [_moot(each) for each in judgements]
        state = State.COMPLIANT
    else:
        state = _state(judgements)
    return Verdict(state, tuple(_since(each, observation, previous) for each in judgements))


def _after_the_module(judgement: Judgement) -> Judgement:
    """Return when nova-compute can promise guests what the module does not give them yet."""
    condition = judgement.condition
    if condition.type not in NOVA or judgement.remedy is not Remedy.FIX:
        return judgement
    message = f'{condition.message}; it waits for the module, see NestedRuntime'
    return Judgement(dataclasses.replace(condition, message=message), Remedy.WAIT)


def with_remediable(
    verdict: Verdict, judgement: Judgement, observation: Observation, previous: Report | None
) -> Verdict:
    """Return the verdict with what is judged of the agent's own fixes, which rests on the plan."""
    judgement = _since(judgement, observation, previous)
    judgements = [*verdict.judgements, judgement]
    state = verdict.state
    if judgement.remedy is not Remedy.NONE and state not in (State.UNSUPPORTED, State.BLOCKED):
        state = _state(judgements)
    return Verdict(state, tuple(judgements))


def _moot(judgement: Judgement) -> Judgement:
    """Return what a deviation is worth on a processor that cannot nest anyway: nothing."""
    condition = judgement.condition
    if condition.status is not Status.FALSE:
        return judgement
    message = f'{condition.message}; without effect, since the processor cannot nest'
    moot = dataclasses.replace(condition, status=Status.TRUE, reason='CannotNest', message=message)
    return Judgement(moot, Remedy.NONE)


def _state(judgements: list[Judgement]) -> State:
    remedies = {each.remedy for each in judgements}
    for remedy, state in (
        (Remedy.IMPOSSIBLE, State.UNSUPPORTED),
        (Remedy.PERSON, State.BLOCKED),
        (Remedy.FIX, State.DRIFTED),
        (Remedy.WAIT, State.PENDING),
    ):
        if remedy in remedies:
            return state
    # A False without a remedy waits for another condition that could not be judged.
    if all(each.condition.status is Status.TRUE for each in judgements):
        return State.COMPLIANT
    return State.UNKNOWN


def _since(judgement: Judgement, observation: Observation, previous: Report | None) -> Judgement:
    if previous is None:
        return judgement
    condition = judgement.condition
    since: float | None = observation.time
    for old in previous.conditions:
        if old.type is condition.type and old.status is condition.status:
            since = old.since
    return Judgement(dataclasses.replace(condition, since=since), judgement.remedy)
