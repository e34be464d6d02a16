"""What can go wrong that a caller may want to tell apart."""


class NestedAgentError(Exception):
    """Base of every error this project raises on purpose."""


class ConfigurationError(NestedAgentError):
    """An option of ours has a value that cannot be used; the message names it."""


class ReportFormatError(NestedAgentError):
    """A stored or received Report cannot be understood; the message says where and why."""


class ProofFormatError(NestedAgentError):
    """The stored result of a proof cannot be understood; the message names the file."""


class LockTimeoutError(NestedAgentError):
    """A lock was not to be had in time; the message names its file."""


class UsageError(NestedAgentError):
    """The command line asks for something that cannot be; the message says what can."""


class NotPermittedError(UsageError):
    """Whoever asks may not do that on this node; the message says who may."""


class NoReportError(NestedAgentError):
    """There is no report to show; the message says why."""


class RPCError(NestedAgentError):
    """An agent could not be asked; the message says which and why, in one line."""


class NoBrokerError(RPCError):
    """The message broker cannot be reached, or does not let us in."""


class NoSuchAgentError(RPCError):
    """The broker is there, but no agent takes requests for that host."""


class NoAnswerError(RPCError):
    """The agent of that host did not answer in time."""


class IncompatibleAgentError(RPCError):
    """The agent is too old or too new for what it was asked; the message names the versions."""


class RemoteError(RPCError):
    """The agent answered that it could not do what it was asked."""


class RemediationRefusedError(RPCError):
    """The agent did not do what it was asked and changed nothing; the message says why."""


class RemoteNotPermittedError(RemediationRefusedError):
    """That node does not allow it to be done by RPC; the message names the option."""


class RemoteBusyError(RemediationRefusedError):
    """A remediation is under way on that node already, or fixes are paused there."""


class StepError(NestedAgentError):
    """A step of a remediation cannot be done, or was not; the message says why and what to do."""


class BusyError(StepError):
    """Not now: something uses what would change. Not a failure; it is tried again when idle."""


class RemediationError(NestedAgentError):
    """Nothing can be remediated now; the message says why. Nothing was changed."""


class RemediationBusyError(RemediationError):
    """Another remediation is under way on this node, or fixes are paused."""


class RecordError(NestedAgentError):
    """What the agent wrote down about its own changes cannot be read or written; names the file."""
