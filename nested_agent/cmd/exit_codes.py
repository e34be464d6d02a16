"""Exit codes: a node's state, what a proof came to, and of sysexits.h what is not about a node."""

from nested_agent.model import Result, State
from nested_agent.proof.finding import Outcome

OF_STATE = {
    State.COMPLIANT: 0,
    State.DRIFTED: 1,
    State.PENDING: 1,
    State.BLOCKED: 2,
    State.UNSUPPORTED: 3,
    State.UNKNOWN: 4,
}

#: Of a revert: whether everything is as it was before the agent came.
OF_REVERT = {
    Result.APPLIED: 0,
    Result.NOOP: 0,
    Result.SKIPPED: 1,
    Result.ROLLED_BACK: 2,
    Result.FAILED: 2,
}

#: Of a proof; 4 means unknown here as there.
OF_OUTCOME = {
    Outcome.PROVED: 0,
    Outcome.REFUSED: 1,
    Outcome.FAILED: 2,
    Outcome.NOT_TRIED: 4,
}

USAGE = 64
#: Nobody could be asked: no broker, no such agent, no answer in time, another version.
UNAVAILABLE = 69
INTERNAL = 70
#: Nothing was changed: as a rule, the agent's record of its changes cannot be read or written.
IO_ERROR = 74
#: A remediation is under way already, or fixes are paused there: try again.
BUSY = 75
#: Only root may, or [remediation] allow_remote is not set.
NOT_PERMITTED = 77
