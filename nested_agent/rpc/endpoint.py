"""The agent's answers to requests."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from oslo_config import cfg
from pbr import version

from nested_agent.exceptions import (
    NestedAgentError,
    RecordError,
    RemediationBusyError,
    RemediationError,
)
from nested_agent.model import ConditionType, Report, to_plain
from nested_agent.rpc import api, arguments
from nested_agent.rpc.guard import expected
from nested_agent.rpc.seldom import Seldom

LOG = logging.getLogger(__name__)
LOG.addFilter(Seldom())

#: Told to the caller as what they are: the agent did what it should.
TOLD = (
    RemediationBusyError,
    RemediationError,
    RecordError,
    api.RemediationNotPermittedError,
    api.VerificationTimeoutError,
    api.NobodyWaitsError,
)

#: What the Guard says of a request: when it was ``received``, in which ``version`` of the
#: interface, and the ``monitor`` that keeps the caller waiting.
Context = Mapping[str, Any]

#: Those that a caller of version 1.0 does not know.
NEW_CONDITIONS = (ConditionType.REMEDIABLE, ConditionType.NESTED_PROVED)


class Endpoint:
    """The methods of the interface; see :mod:`nested_agent.rpc.api` for its history."""

    def __init__(self, conf: cfg.ConfigOpts, host: str, agent: api.Agent) -> None:
        self.target = api.target()
        self._conf = conf
        self._host = host
        self._agent = agent
        self._verifying = threading.Lock()
        self._remediating = threading.Lock()
        self._verified: tuple[float, Report] | None = None
        self._last: tuple[Report, dict[str, Any]] | None = None
        self._version = version.VersionInfo('nested-agent').release_string()

    def ping(self, context: Context) -> dict[str, Any]:
        """Return the host, the release of the agent and the version of its interface."""
        return {'host': self._host, 'version': self._version, 'api': api.VERSION}

    def get_status(self, context: Context) -> dict[str, Any]:
        """Return the last report (None before the first), the interval and the age in seconds.

        The age is by the agent's own clock; the caller's may differ.
        """
        with _told():
            report = self._agent.report()
            return {
                'report': self._plain(context, report) if report else None,
                'interval': float(self._conf.agent.interval),
                'age': max(0.0, time.time() - report.time) if report else None,
            }

    def _plain(self, context: Context, report: Report) -> dict[str, Any]:
        # The same report is asked for many times between two verifications.
        last = self._last
        if last is None or last[0] is not report:
            self._last = last = (report, report.to_dict())
        plain = last[1]
        if context.get('version') != api.FIRST:
            return plain
        known = [each for each in plain['conditions'] if each['type'] not in NEW_CONDITIONS]
        return {**plain, 'conditions': known}

    def verify(self, context: Context, timeout: float = api.VERIFY_SECONDS) -> dict[str, Any]:
        """Return a report observed after the request came; it holds what would be done.

        Requests that came before a verification began share its report.

        :param timeout: seconds after which nobody waits for the answer any more
        """
        arguments.number('timeout', timeout, api.VERIFY_MOST_SECONDS)
        with _told():
            try:
                report = self._verify(context['received'], timeout)
            except TimeoutError as error:
                raise api.VerificationTimeoutError(str(error)) from None
            return {'report': self._plain(context, report)}

    def _verify(self, received: float, timeout: float) -> Report:
        end = received + timeout
        if not self._verifying.acquire(timeout=max(0.0, end - time.monotonic())):
            raise TimeoutError(f'another verification did not end within {timeout:g} s')
        try:
            if self._verified and self._verified[0] >= received:
                return self._verified[1]
            begun = time.monotonic()
            if begun >= end:
                raise TimeoutError(f'the request is older than {timeout:g} s')
            report = self._agent.verify_now(end - begun)
            self._verified = (begun, report)
            return report
        finally:
            self._verifying.release()

    def remediate(self, context: Context, noop: bool, who: str) -> dict[str, Any]:
        """Fix what differs, and return the run when it has ended.

        Changing anything takes ``[remediation] allow_remote`` on this node; ``noop``, as all other
        methods, does not. One at a time: a second one is refused at once. It goes on to its end
        whether its caller waits or not; ``history`` then tells of it. The caller should set a call
        monitor timeout, and wait long.

        :param noop: change nothing, only find out what would be done
        :param who: whom the history is to name
        """
        arguments.flag('noop', noop)
        arguments.words('who', who, api.WHO_LENGTH)
        with _told():
            if not noop and not self._conf.remediation.allow_remote:
                LOG.warning('RPC: remediation refused to %s: allow_remote is not set', who)
                raise api.RemediationNotPermittedError(
                    f'[remediation] allow_remote is not set on {self._host}: there it takes root '
                    'and "nested-agentctl remediate"'
                )
            if not self._remediating.acquire(blocking=False):
                raise RemediationBusyError('a remediation is under way')
            try:
                with context['monitor'].kept():
                    LOG.info('RPC: remediation (%s) for %s', 'noop' if noop else 'for real', who)
                    return {'run': to_plain(self._agent.remediate(noop=noop, who=who))}
            finally:
                self._remediating.release()

    def pause(
        self, context: Context, seconds: float | None, reason: str, who: str
    ) -> dict[str, Any]:
        """Have no fixes made without being asked, for a while; always permitted.

        :param seconds: None: until ``resume``
        :param reason: why, for those who wonder later
        :param who: whom the report is to name
        """
        if seconds is not None:
            arguments.number('seconds', seconds, api.PAUSE_MOST_SECONDS)
        arguments.words('reason', reason, api.REASON_LENGTH)
        arguments.words('who', who, api.WHO_LENGTH)
        with _told():
            return {'pause': to_plain(self._agent.pause(seconds, reason, who))}

    def resume(self, context: Context, who: str) -> dict[str, Any]:
        """End a pause, and have fixes tried again that were given up; always permitted.

        :param who: who says so
        """
        arguments.words('who', who, api.WHO_LENGTH)
        with _told():
            self._agent.resume(who)
            return {}

    def history(self, context: Context, limit: int = api.HISTORY_RUNS) -> dict[str, Any]:
        """Return what was done on this node, the last first; always permitted.

        :param limit: how many runs at most
        """
        arguments.count('limit', limit, api.HISTORY_MOST_RUNS)
        with _told():
            return {'runs': to_plain(self._agent.history()[:limit])}


@contextmanager
def _told() -> Iterator[None]:
    """Turn what goes wrong while answering into a failure the caller is told."""
    try:
        yield
    except TOLD as error:
        kind = next(each for each in TOLD if isinstance(error, each))
        failure: NestedAgentError = kind(api.first_line(error, api.SENTENCE_LENGTH))
        LOG.debug('an RPC request was refused: %s: %s', type(error).__name__, error)
    except Exception as error:
        LOG.exception('an RPC request could not be answered')
        failure = api.AgentFailureError(f'{type(error).__name__}: {api.first_line(error)}')
    else:
        return
    raise expected(failure)
