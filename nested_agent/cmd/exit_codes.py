"""Exit codes: a node's state, and those of sysexits.h that are not about the node."""

from nested_agent.model import State

OF_STATE = {
    State.COMPLIANT: 0,
    State.DRIFTED: 1,
    State.PENDING: 1,
    State.BLOCKED: 2,
    State.UNSUPPORTED: 3,
    State.UNKNOWN: 4,
}

USAGE = 64
#: Nobody could be asked: no broker, no such agent, no answer in time, another version.
UNAVAILABLE = 69
INTERNAL = 70
