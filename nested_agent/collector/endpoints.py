"""What the collector takes and answers; see :mod:`nested_agent.rpc.fleet` for the interface."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import oslo_messaging
from pbr import version

from nested_agent.collector import database
from nested_agent.collector.digest import Digest, digest
from nested_agent.collector.queries import Page, Queries
from nested_agent.conf.collector import Options
from nested_agent.exceptions import ReportFormatError
from nested_agent.rpc import api, arguments, fleet
from nested_agent.rpc.guard import expected
from nested_agent.rpc.seldom import Seldom

LOG = logging.getLogger(__name__)
LOG.addFilter(Seldom())

Context = Mapping[str, Any]

FILTER_MOST = 32


class Reports:
    """Takes reports; called by one thread."""

    def __init__(
        self, add: Callable[[Digest], None], refused: Callable[[], object] = lambda: None
    ) -> None:
        self.target = oslo_messaging.Target(version=fleet.VERSION)
        self._add = add
        self._refused = refused

    def ping(self, context: Context) -> None:
        """Do nothing: so a listener wakes itself."""

    def report_state(self, context: Context, report: object, release: object = None) -> None:
        """Take the report of a node; nothing is answered."""
        try:
            self._add(digest(report, release, time.time()))
        except ReportFormatError as error:
            self._refused()
            # Without a name: it may be made up, and another one each time.
            LOG.warning('a report was refused: %s', error)


class Inline:
    """Takes the place of oslo.messaging's executor: a report is put aside faster than handed on."""

    def __init__(self, max_workers: int) -> None:
        """Start no workers."""

    def submit(self, work: Callable[..., Any], incoming: Any) -> None:
        """Have it done at once."""
        try:
            work(incoming)
        except Exception as error:
            LOG.warning('a message was refused (%s)', type(error).__name__)
            LOG.debug('refused', exc_info=True)

    def shutdown(self, wait: bool = True) -> None:
        """Return: there is nothing to wait for."""


class Answers:
    """Answers questions; called by several threads."""

    def __init__(self, queries: Queries, options: Callable[[], Options], host: str) -> None:
        self.target = oslo_messaging.Target(version=fleet.VERSION)
        self._queries = queries
        self._options = options
        self._host = host
        self._version = version.VersionInfo('nested-agent').release_string()

    def ping(self, context: Context) -> dict[str, Any]:
        """Return the host, the release of the collector and the version of its interface."""
        return {'host': self._host, 'version': self._version, 'api': fleet.VERSION}

    def list_nodes(
        self,
        context: Context,
        filters: Mapping[str, Any] | None = None,
        marker: str | None = None,
        limit: int = fleet.PAGE,
    ) -> dict[str, Any]:
        """Return nodes by name, as a table; see :func:`_page`.

        :param filters: see :data:`fleet.NODE_FILTERS`
        :param marker: of the page before; None: from the beginning
        :param limit: how many at most
        """
        given = _filters(filters, fleet.NODE_FILTERS)
        arguments.count('limit', limit, fleet.PAGE_MOST)
        if marker is not None:
            arguments.words('marker', marker, fleet.HOST_LENGTH)
        states, reasons = (_choice(name, given.get(name)) for name in fleet.NODE_FILTERS)
        with _told():
            page = self._queries.nodes(
                time.time(),
                self._options().agent_down_time,
                states=states,
                reasons=reasons,
                marker=marker,
                limit=limit,
            )
        return _page(page)

    def get_node(self, context: Context, host: str) -> dict[str, Any]:
        """Return the ``node`` with its last ``report``; None: nobody knows of it."""
        arguments.words('host', host, fleet.HOST_LENGTH)
        with _told():
            now, down_time = time.time(), self._options().agent_down_time
            return {'node': self._queries.node(host, now, down_time)}

    def summary(self, context: Context) -> dict[str, Any]:
        """Return how many ``nodes`` there are, by ``states``, ``reasons`` and so on."""
        with _told():
            return self._queries.summary(time.time(), self._options().agent_down_time)

    def list_events(
        self,
        context: Context,
        filters: Mapping[str, Any] | None = None,
        marker: int | None = None,
        limit: int = fleet.PAGE,
    ) -> dict[str, Any]:
        """Return events, the last first, as a table; see :func:`_page`.

        :param filters: see :data:`fleet.EVENT_FILTERS`
        """
        given = _filters(filters, fleet.EVENT_FILTERS)
        arguments.count('limit', limit, fleet.PAGE_MOST)
        if marker is not None:
            arguments.count('marker', marker, 1 << 62)
        if given.get('host') is not None:
            arguments.words('host', given['host'], fleet.HOST_LENGTH)
        if given.get('kind') is not None:
            arguments.words('kind', given['kind'], fleet.WORD_LENGTH)
        if given.get('since') is not None:
            arguments.number('since', given['since'], 1e12)
        with _told():
            page = self._queries.events(**given, marker=marker, limit=limit)
        return _page(page)


def _page(page: Page) -> dict[str, Any]:
    """Return names of ``columns``, ``rows``, and the ``marker`` of the next page."""
    return {'columns': page.columns, 'rows': page.rows, 'marker': page.marker}


def _filters(filters: object, known: Sequence[str]) -> Mapping[str, Any]:
    if filters is None:
        return {}
    if not isinstance(filters, Mapping) or set(filters) - set(known):
        raise ValueError(f'filters is no mapping with {", ".join(known)}')
    return filters


def _choice(name: str, value: object) -> Sequence[str]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > FILTER_MOST:
        raise ValueError(f'{name} is not a list of up to {FILTER_MOST} words')
    for each in value:
        arguments.words(name, each, fleet.WORD_LENGTH)
    return value


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn what goes wrong into a failure the caller is told."""
    try:
        yield
    except database.ERRORS as error:
        LOG.error('a question could not be answered: %s', api.first_line(error))
        LOG.debug('not answered', exc_info=True)
        failure = fleet.StoreFailureError('its database does not answer: its log says why')
    except Exception:
        LOG.exception('a question could not be answered')
        failure = fleet.StoreFailureError('a defect of its own: its log says which')
    else:
        return
    raise expected(failure)
