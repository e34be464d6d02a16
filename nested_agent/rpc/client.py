"""Asks the agents of other nodes, with a deadline that holds."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from nested_agent.exceptions import NoReportError
from nested_agent.model import Pause, Report, Run
from nested_agent.rpc import api, peer
from nested_agent.rpc.asking import Asking

T = TypeVar('T')

#: The versions a method is asked for in, one after the other, so that older agents answer too.
ALWAYS = (api.FIRST,)
BETTER = (api.VERSION, api.FIRST)
NEW = (api.VERSION,)


@dataclasses.dataclass(frozen=True, slots=True)
class Pong:
    """Who answers.

    :ivar version: release of the agent
    :ivar api: version of the interface it speaks
    """

    host: str
    version: str
    api: str


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """The last report of an agent.

    :ivar interval: seconds between its verifications
    :ivar age: seconds since the report was made, by the agent's clock
    """

    report: Report
    interval: float
    age: float


class Client(Asking):
    """Every method asks the agent of one host, and raises :class:`RPCError` subclasses:

    NoBrokerError, NoSuchAgentError, NoAnswerError, IncompatibleAgentError, RemoteError; those
    about remediation also RemediationRefusedError. ``who`` is whom the agent's records name.

    :param conf: the global configuration (oslo.messaging works with no other), loaded
    :raises ConfigurationError: ``transport_url`` cannot be used
    """

    def ping(self, host: str, deadline: float) -> Pong:
        """Return who answers within ``deadline`` seconds."""
        answer = self._ask(host, 'ping', deadline, versions=ALWAYS)
        return self._understood(
            host, lambda: Pong(str(answer['host']), str(answer['version']), str(answer['api']))
        )

    def get_status(self, host: str, deadline: float) -> Status:
        """Return the last report, asked for within ``deadline`` seconds.

        :raises NoReportError: the agent has not verified its node yet
        """
        answer = self._ask(host, 'get_status', deadline, versions=BETTER)
        if isinstance(answer, dict) and answer.get('report', answer) is None:
            raise NoReportError(f'the agent of {host} has not verified its node yet')
        return self._understood(
            host,
            lambda: Status(
                Report.from_dict(answer['report']), float(answer['interval']), float(answer['age'])
            ),
        )

    def verify(self, host: str, deadline: float) -> Report:
        """Have the node verified now and return the report, within ``deadline`` seconds."""
        # The agent gives up a little before us, so that we hear of it.
        timeout = min(max(deadline - 1, deadline / 2), api.VERIFY_MOST_SECONDS)
        answer = self._ask(host, 'verify', deadline, versions=BETTER, timeout=timeout)
        return self._understood(host, lambda: Report.from_dict(answer['report']))

    def remediate(
        self,
        host: str,
        deadline: float,
        *,
        noop: bool,
        who: str,
        monitor: int = api.MONITOR_SECONDS,
    ) -> Run:
        """Have the node fixed and return the run when it has ended, within ``deadline`` seconds.

        :param noop: nothing is changed, only found out what would be done
        :param monitor: seconds without a sign of life after which the agent is given up
        :raises NoAnswerError: it may have been done all the same: the history tells
        """
        answer = self._ask(host, 'remediate', deadline, monitor=monitor, noop=noop, who=who)
        return self._understood(host, lambda: Run.from_dict(answer['run']))

    def pause(
        self, host: str, deadline: float, seconds: float | None, reason: str, who: str
    ) -> Pause:
        """Have no fixes made on the node for some seconds, None: until :meth:`resume`."""
        answer = self._ask(host, 'pause', deadline, seconds=seconds, reason=reason, who=who)
        return self._understood(host, lambda: Pause.from_dict(answer['pause']))

    def resume(self, host: str, deadline: float, who: str) -> None:
        """End a pause, and have fixes tried again that were given up."""
        self._ask(host, 'resume', deadline, who=who)

    def history(self, host: str, deadline: float, limit: int) -> tuple[Run, ...]:
        """Return the last ``limit`` runs, the last first."""
        answer = self._ask(host, 'history', deadline, limit=limit)
        return self._understood(host, lambda: tuple(map(Run.from_dict, answer['runs'])))

    def _understood(self, host: str, read: Callable[[], T]) -> T:
        return self.understood(peer.agent(host), read)

    def _ask(
        self, host: str, method: str, deadline: float, *, versions: Sequence[str] = NEW, **more: Any
    ) -> Any:
        return self.ask(peer.agent(host), method, deadline, versions=versions, **more)
