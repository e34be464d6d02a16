"""What is read: lists of nodes and events by the page, and how many there are of what."""

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from nested_agent.collector.node import AHEAD_SECONDS, is_alive
from nested_agent.collector.tables import EVENTS, NODES, REPORTS
from nested_agent.rpc import fleet

Row = dict[str, Any]

#: What is read of a node for a list; thousands of nodes are, so nothing else is.
LISTED = (
    NODES.c.host,
    NODES.c.state,
    NODES.c.reasons,
    NODES.c.since,
    NODES.c.seen,
    NODES.c.vendor,
    NODES.c.kernel,
    NODES.c.release,
)
#: What is told of it; see :func:`_told`.
TOLD = (
    'host',
    'state',
    'reasons',
    'since',
    'seen',
    'reported',
    'vendor',
    'kernel',
    'release',
)


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """Some of what there is, as a table: thousands of mappings would take twice as long.

    :ivar columns: names of the values of a row
    :ivar marker: what to ask for the next page with; None: there is none
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    marker: Any


class Queries:
    """The database as those see it who ask; from several threads.

    Every method raises oslo_db.exception.DBError or sqlalchemy.exc.SQLAlchemyError where the
    database does not answer.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def nodes(
        self,
        now: float,
        down_time: float,
        *,
        states: Sequence[str] = (),
        reasons: Sequence[str] = (),
        marker: str | None = None,
        limit: int = fleet.PAGE,
    ) -> Page:
        """Return nodes by name, after the one named by ``marker``.

        :param now: seconds since the epoch; nodes not seen for ``down_time`` seconds are down
        :param states: only those in one of these; none: in any
        :param reasons: only those with one of these
        """
        chosen = sa.select(*LISTED).order_by(NODES.c.host).limit(limit + 1)
        if marker is not None:
            chosen = chosen.where(NODES.c.host > marker)
        if states:
            chosen = chosen.where(_in_states(states, _alive(now, down_time)))
        if reasons:
            chosen = chosen.where(
                sa.or_(
                    *(NODES.c.reasons.contains(f' {each} ', autoescape=True) for each in reasons)
                )
            )
        with self._engine.connect() as connection:
            found = connection.execute(chosen).all()
        rows = [_told(row, now, down_time) for row in found[:limit]]
        return Page(TOLD, rows, rows[-1][0] if len(found) > limit else None)

    def node(self, host: str, now: float, down_time: float) -> Row | None:
        """Return all that is known of a node, with its last report; None if nothing is."""
        chosen = sa.select(*LISTED, NODES.c.booted, NODES.c.schema_version, REPORTS.c.text)
        chosen = chosen.join_from(NODES, REPORTS, NODES.c.host == REPORTS.c.host)
        with self._engine.connect() as connection:
            row = connection.execute(chosen.where(NODES.c.host == host)).one_or_none()
        if row is None:
            return None
        *listed, booted, version, text = row
        return {
            **dict(zip(TOLD, _told(listed, now, down_time), strict=True)),
            'age': max(now - row.seen, 0.0),
            'booted': booted,
            'schema_version': version,
            'report': json.loads(text),
        }

    def states(self, now: float, down_time: float) -> dict[str, int]:
        """Return how many nodes there are by state; as cheap as it gets, by an index alone.

        :param now: as of :meth:`nodes`
        """
        alive = _alive(now, down_time)
        told = sa.case((alive, NODES.c.state), else_=fleet.DOWN).label('told')
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(told, sa.func.count()).group_by('told')).all()
        return {row[0]: row[1] for row in rows}

    def summary(self, now: float, down_time: float) -> Row:
        """Return how many nodes there are, by state, reason, vendor and release.

        A node that is down counts by none of the others: what it said may not be so any more.
        """
        alive = _alive(now, down_time)
        by = (NODES.c.state, NODES.c.reasons, NODES.c.vendor, NODES.c.release)
        number = sa.func.count().label('number')
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(*by, number).where(alive).group_by(*by)).all()
            down = connection.execute(
                sa.select(number).select_from(NODES).where(sa.not_(alive))
            ).scalar_one()
        counts: Mapping[str, collections.Counter[str]] = {
            name: collections.Counter() for name in ('states', 'reasons', 'vendors', 'releases')
        }
        for row in rows:
            counts['states'][row.state] += row.number
            counts['vendors'][row.vendor or 'none'] += row.number
            counts['releases'][row.release or 'unknown'] += row.number
            for reason in row.reasons.split():
                counts['reasons'][reason] += row.number
        if down:
            counts['states'][fleet.DOWN] = down
        total = sum(counts['states'].values())
        return {'nodes': total, **{name: dict(each) for name, each in counts.items()}}

    def events(
        self,
        *,
        host: str | None = None,
        kind: str | None = None,
        since: float | None = None,
        marker: int | None = None,
        limit: int = fleet.PAGE,
    ) -> Page:
        """Return events, the last first, before the one named by ``marker``.

        :param since: seconds since the epoch: none that is older
        """
        chosen = sa.select(EVENTS).order_by(EVENTS.c.id.desc()).limit(limit + 1)
        if marker is not None:
            chosen = chosen.where(EVENTS.c.id < marker)
        if host is not None:
            chosen = chosen.where(EVENTS.c.host == host)
        if kind is not None:
            chosen = chosen.where(EVENTS.c.kind == kind)
        if since is not None:
            chosen = chosen.where(EVENTS.c.time >= since)
        with self._engine.connect() as connection:
            found = connection.execute(chosen).all()
        rows = [tuple(row) for row in found[:limit]]
        return Page(EVENTS.c.keys(), rows, found[limit - 1].id if len(found) > limit else None)


def _alive(now: float, down_time: float) -> sa.ColumnElement[bool]:
    """:func:`is_alive` in SQL."""
    return NODES.c.seen.between(now - down_time, now + AHEAD_SECONDS)


def _in_states(states: Sequence[str], alive: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    told = sa.and_(alive, NODES.c.state.in_([each for each in states if each != fleet.DOWN]))
    return sa.or_(told, sa.not_(alive)) if fleet.DOWN in states else told


def _told(row: Sequence[Any], now: float, down_time: float) -> tuple[Any, ...]:
    """Return a node as it is told: one that is down is nothing else."""
    host, reported, reasons, since, seen, *rest = row
    if is_alive(seen, now, down_time):
        state = reported
    else:
        state, since = fleet.DOWN, seen
    return (host, state, reasons.split(), since, seen, reported, *rest)
