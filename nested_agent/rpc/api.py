"""What an agent answers: the interface both sides share.

API history:

* 1.0: ``ping()``, ``get_status()``, ``verify(timeout)``
* 1.1: ``remediate(noop, who)``, ``pause(seconds, reason, who)``, ``resume(who)``,
  ``history(limit)``; reports have the condition ``Remediable``, which those asked for in 1.0 lack

What would be done about a node is asked with ``verify``: its report holds the plan. ``remediate``
with ``noop`` also finds out what stands in the way of it.

Requests go to the topic :data:`TOPIC`, server = the host the agent reports under, no namespace.
Importing this is cheap: oslo.messaging is only imported when a transport is opened.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

from oslo_config import cfg

from nested_agent.exceptions import ConfigurationError, NestedAgentError
from nested_agent.model import Pause, Report, Run

TOPIC = 'nested_agent'
VERSION = '1.1'

#: The first version; agents still serve it.
FIRST = '1.0'

#: Seconds a verification may be waited for at most, by default and at all.
VERIFY_SECONDS = 60.0
VERIFY_MOST_SECONDS = 3600.0

#: Seconds a remediation is waited for by default. Far more than one takes: its limits are its own.
REMEDIATE_SECONDS = 1800.0
#: Seconds without a sign of life after which the caller of ``remediate`` gives the agent up.
MONITOR_SECONDS = 60

#: What a request may say. Words are printable, and may be logged.
WHO_LENGTH = 100
REASON_LENGTH = 500
PAUSE_MOST_SECONDS = 366 * 86400.0  # a year
HISTORY_RUNS = 20
HISTORY_MOST_RUNS = 1000

#: Characters of a sentence that is told as it is.
SENTENCE_LENGTH = 1000

#: Where the URL of the broker stands.
URL = '[DEFAULT] transport_url'

NOT_UNDERSTOOD = (
    'it is not of the form DRIVER://USER:PASSWORD@HOST:PORT/VHOST?OPTION=VALUE, with other '
    'characters than letters and digits as %XX (it is not shown here)'
)


class Agent(Protocol):
    """What is asked; called from several threads at once."""

    def report(self) -> Report | None:
        """Return the last report; None before the first verification."""

    def verify_now(self, timeout: float) -> Report:
        """Observe now and return the report.

        :raises TimeoutError: there is none within ``timeout`` seconds
        """

    def remediate(self, *, noop: bool, who: str) -> Run:
        """Fix what differs and return, when it has ended, what was done.

        :param noop: change nothing, only find out what would be done
        :raises RemediationBusyError: a remediation is under way, or fixes are paused
        :raises RemediationError, RecordError: it cannot be done now; nothing was changed
        """

    def pause(self, seconds: float | None, reason: str, who: str) -> Pause:
        """Make no fixes for a while, None: until :meth:`resume`.

        :raises RemediationError, RecordError: it cannot be written down
        """

    def resume(self, who: str) -> None:
        """End a pause, and have fixes tried again that were given up.

        :raises RemediationError, RecordError: it cannot be written down
        """

    def history(self) -> tuple[Run, ...]:
        """Return the runs that are remembered, the last first.

        :raises RecordError: they cannot be read
        """


class MalformedRequestError(NestedAgentError):
    """The request cannot be understood. On the wire the name of the class tells."""


class UnsupportedVersionError(NestedAgentError):
    """The request is for another version of the interface; the message names ours."""


class VerificationTimeoutError(NestedAgentError):
    """The verification took longer than the request allows."""


class RemediationNotPermittedError(NestedAgentError):
    """The node does not let it be done by RPC; the message names the option."""


class NobodyWaitsError(NestedAgentError):
    """The request came too late: whoever made it has given it up."""


class AgentFailureError(NestedAgentError):
    """The agent failed to answer; its log says why."""


def configured(conf: cfg.ConfigOpts) -> bool:
    """Return whether the operator set ``transport_url``, in a file or the environment.

    oslo.messaging's own option cannot tell: its default is a broker on localhost.
    """
    own = cfg.ConfigOpts()
    own.register_opt(cfg.StrOpt('transport_url', secret=True))
    own(
        args=[],
        project='nested-agent',
        default_config_files=conf.config_file,
        default_config_dirs=conf.config_dir,
    )
    return bool((own.transport_url or '').strip())


def target(server: str | None = None, version: str | None = None) -> Any:
    """Return the oslo.messaging Target of all agents, or of the one on host ``server``."""
    import oslo_messaging

    return oslo_messaging.Target(topic=TOPIC, version=version or VERSION, server=server)


@contextlib.contextmanager
def refusing(option: str = URL) -> Iterator[None]:
    """Have what oslo.messaging says of a URL raised as :class:`ConfigurationError`.

    :param option: where the URL stands; its text is not shown
    """
    import oslo_messaging

    try:
        yield
    except (oslo_messaging.InvalidTransportURL, ValueError):
        # From None: these errors quote what may well be a part of the password.
        raise ConfigurationError(f'{option}: {NOT_UNDERSTOOD}') from None
    except (oslo_messaging.DriverLoadFailure, cfg.Error, RuntimeError) as error:
        raise ConfigurationError(f'{option}: {first_line(error)}') from None


def transport_url(conf: cfg.ConfigOpts) -> Any:
    """Return ``transport_url`` as oslo.messaging understands it.

    :raises ConfigurationError: it cannot be understood; its text is not shown
    """
    import oslo_messaging

    with refusing():
        return oslo_messaging.TransportURL.parse(conf)


def brokers(url: Any) -> str:
    """Return the hosts and ports of a transport URL, without credentials."""
    # An unquoted @ in the password makes the rest of it part of the host name.
    hosts = [f'{str(each.hostname).rpartition("@")[2]}:{each.port or 5672}' for each in url.hosts]
    return ', '.join(hosts) or 'localhost:5672'


def open_transport(conf: cfg.ConfigOpts, url: Any) -> Any:
    """Return an RPC transport; connects to nothing yet.

    :param conf: the global one: oslo.messaging works with no other
    :raises ConfigurationError: an option of oslo.messaging cannot be used
    """
    import oslo_messaging

    with refusing():
        return oslo_messaging.get_rpc_transport(conf, url=url)


def first_line(error: object, length: int = 200) -> str:
    """Return one short line of an error's text, which may be long, or others' choice."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= length else f'{lines[0][:length]}...'
