"""What can go wrong that a caller may want to tell apart."""


class NestedAgentError(Exception):
    """Base of every error this project raises on purpose."""


class ConfigurationError(NestedAgentError):
    """An option of ours has a value that cannot be used; the message names it."""


class ReportFormatError(NestedAgentError):
    """A stored or received Report cannot be understood; the message says where and why."""


class UsageError(NestedAgentError):
    """The command line asks for something that cannot be; the message says what can."""
