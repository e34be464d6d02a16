"""What can go wrong that a caller may want to tell apart."""


class NestedAgentError(Exception):
    """Base of every error this project raises on purpose."""


class ConfigurationError(NestedAgentError):
    """An option of ours has a value that cannot be used; the message names it."""


class ReportFormatError(NestedAgentError):
    """A stored or received Report cannot be understood; the message says where and why."""


class UsageError(NestedAgentError):
    """The command line asks for something that cannot be; the message says what can."""


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
