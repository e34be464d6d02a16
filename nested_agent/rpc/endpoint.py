"""The answers to requests, and what becomes of requests that have none."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import oslo_messaging
from oslo_config import cfg
from oslo_messaging.rpc import dispatcher as rpc_dispatcher
from pbr import version

from nested_agent.exceptions import NestedAgentError
from nested_agent.model import Report
from nested_agent.rpc import api
from nested_agent.rpc.seldom import Seldom

LOG = logging.getLogger(__name__)
LOG.addFilter(Seldom())

Context = Mapping[str, Any]


class Endpoint:
    """The methods of the interface; see :mod:`nested_agent.rpc.api` for its history."""

    def __init__(self, conf: cfg.ConfigOpts, host: str, agent: api.Agent) -> None:
        self.target = api.target()
        self._conf = conf
        self._host = host
        self._agent = agent
        self._verifying = threading.Lock()
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
                'report': self._plain(report) if report else None,
                'interval': float(self._conf.agent.interval),
                'age': max(0.0, time.time() - report.time) if report else None,
            }

    def _plain(self, report: Report) -> dict[str, Any]:
        # The same report is asked for many times between two verifications.
        last = self._last
        if last is None or last[0] is not report:
            self._last = last = (report, report.to_dict())
        return last[1]

    def verify(self, context: Context, timeout: float = api.VERIFY_SECONDS) -> dict[str, Any]:
        """Return a report observed after the request came.

        Requests that came before a verification began share its report.

        :param timeout: seconds after which nobody waits for the answer any more
        """
        if isinstance(timeout, bool) or not isinstance(timeout, int | float):
            raise TypeError(f'timeout is not a number but {type(timeout).__name__}')
        if not 0 < timeout <= api.VERIFY_MOST_SECONDS:
            raise ValueError(f'timeout is not in 0..{api.VERIFY_MOST_SECONDS:g} s')
        with _told():
            return {'report': self._verify(context['received'], timeout).to_dict()}

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


class Guard:
    """Stands before oslo.messaging's dispatcher: a bad request is refused in one quiet line.

    The dispatcher alone logs a traceback for each, and sends the request's own text back.
    """

    def __init__(self, dispatcher: Any, host: str) -> None:
        self._dispatcher = dispatcher
        self._host = host

    def dispatch(self, incoming: Any) -> Any:
        """Return the answer; raises ExpectedException, which is sent and not logged."""
        # What serves "call monitors" leaves a thread behind for every refused request.
        incoming.client_timeout = None
        # Nothing a caller says of itself is used; when it came is.
        watch = getattr(incoming, 'stopwatch', None)
        incoming.ctxt = {'received': time.monotonic() - (watch.elapsed() if watch else 0.0)}
        try:
            return self._dispatcher.dispatch(incoming)
        except rpc_dispatcher.ExpectedException:
            raise
        except (oslo_messaging.NoSuchMethod, oslo_messaging.UnsupportedVersion) as error:
            refusal: NestedAgentError = api.UnsupportedVersionError(
                f'{self._host} speaks version {api.VERSION}: {api.first_line(error)}'
            )
        except Exception as error:  # noqa: BLE001  # whatever the request provokes; told to it
            refusal = api.MalformedRequestError(f'{type(error).__name__}: {api.first_line(error)}')
        LOG.warning('an RPC request was refused (%s)', type(refusal).__name__)
        LOG.debug('refused: %s', refusal)
        raise _expected(refusal)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what goes wrong while answering into a failure the caller is told."""
    try:
        yield
    except TimeoutError as error:
        failure: NestedAgentError = api.VerificationTimeoutError(api.first_line(error))
    except Exception as error:
        LOG.exception('an RPC request could not be answered')
        failure = api.AgentFailureError(f'{type(error).__name__}: {api.first_line(error)}')
    else:
        return
    raise _expected(failure)


def _expected(error: NestedAgentError) -> Any:
    # ExpectedException takes the error that is being handled; from None: no other goes with it.
    try:
        raise error from None
    except NestedAgentError:
        return rpc_dispatcher.ExpectedException()
