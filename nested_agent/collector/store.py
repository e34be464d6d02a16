"""What is written: reports, many in one transaction, and what is too old."""

import collections
import dataclasses
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from oslo_db import api as db_api
from oslo_db import exception as db_exception
from sqlalchemy.dialects import mysql, sqlite

from nested_agent.collector import database
from nested_agent.collector.digest import Digest
from nested_agent.collector.node import (
    Event,
    Kind,
    Merged,
    Node,
    Taken,
    is_alive,
    merge,
    not_ahead,
)
from nested_agent.collector.quota import Quota
from nested_agent.collector.tables import EVENTS, NODES, REPORTS

#: How often two collectors that got into each other's way try again.
TRIES = 10

#: Rows deleted in one transaction.
CHUNK = 5000


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch.

    :ivar refused: hosts that were not taken, since there are too many
    :ivar untold: hosts about which there were so many events that some are not kept
    :ivar taken: how many reports, by what became of them
    :ivar events: how many were kept, by kind
    """

    refused: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    taken: Mapping[Taken, int] = dataclasses.field(default_factory=dict)
    events: Mapping[str, int] = dataclasses.field(default_factory=dict)


class Store:
    """The database as the writer sees it; for one thread.

    :param quota: of events; None: the usual one
    """

    def __init__(self, engine: sa.Engine, quota: Quota | None = None) -> None:
        self._engine = engine
        self._quota = quota or Quota()

    def write(
        self, batch: Mapping[str, Sequence[Digest]], down_time: float, max_nodes: int
    ) -> Written:
        """Keep a batch of reports, all or none.

        :param batch: by host, in the order they came
        :param down_time: seconds without a report after which a node is down
        :param max_nodes: no new nodes are taken when there are so many
        :raises oslo_db.exception.DBError, sqlalchemy.exc.SQLAlchemyError: nothing was written
        """
        found: Written = _again(self._write)(batch, down_time, max_nodes)
        return found

    def _write(
        self, batch: Mapping[str, Sequence[Digest]], down_time: float, max_nodes: int
    ) -> Written:
        taken: collections.Counter[Taken] = collections.Counter()
        with database.writing(self._engine) as connection:
            known = _nodes(connection, sorted(batch))
            new = [host for host in batch if host not in known]
            refused = _too_many(connection, new, max_nodes) if new else set()
            merged = {
                host: _merged(known.get(host), digests, down_time, taken)
                for host, digests in batch.items()
                if host not in refused
            }
            _insert(connection, merged, [host for host in new if host not in refused])
            self._update(connection, merged, [host for host in batch if host in known])
            events = [event for each in merged.values() for event in each.events]
            kept = self._quota.kept(events)
            if kept:
                connection.execute(sa.insert(EVENTS), [_row(each) for each in kept])
        self._quota.written(kept)
        untold = {event.host for event in events} if len(kept) < len(events) else set()
        untold -= {event.host for event in kept}
        taken[Taken.REFUSED] = sum(len(batch[host]) for host in refused)
        kinds = collections.Counter(event.kind for event in kept)
        return Written(tuple(sorted(refused)), tuple(sorted(untold)), taken, kinds)

    def _update(
        self, connection: sa.Connection, merged: Mapping[str, Merged], hosts: Sequence[str]
    ) -> None:
        """Write nodes that are there, all in one statement; their rows are locked."""
        if not hosts:
            return
        rows = [_row(merged[host].node) for host in hosts]
        connection.execute(_replacing(self._engine, NODES), rows)
        texts = [{'host': host, 'text': merged[host].text} for host in hosts if merged[host].text]
        if texts:
            connection.execute(_replacing(self._engine, REPORTS), texts)

    def forget(self, nodes_before: float, events_before: float) -> int:
        """Delete nodes that were not seen since, and older events; returns how many nodes.

        :raises oslo_db.exception.DBError, sqlalchemy.exc.SQLAlchemyError: some are left
        """
        count = 0
        while hosts := _again(self._forget_nodes)(nodes_before):
            count += len(hosts)
        while _again(self._forget_events)(events_before):
            pass
        return count

    def _forget_nodes(self, before: float) -> list[str]:
        with database.writing(self._engine) as connection:
            chosen = sa.select(NODES.c.host, NODES.c.state).where(NODES.c.seen < before)
            rows = connection.execute(chosen.limit(CHUNK).with_for_update()).all()
            _delete(connection, [(host, state) for host, state in rows], '')
        return [row.host for row in rows]

    def forget_hosts(
        self, hosts: Collection[str], now: float, down_time: float
    ) -> dict[str, float | None]:
        """Delete nodes that are down, all or none; returns those that cannot be, to last seen.

        :param down_time: seconds without a report after which a node is down
        :returns: empty where all are deleted; the time of a node that is not known is None
        :raises oslo_db.exception.DBError, sqlalchemy.exc.SQLAlchemyError: all are left
        """
        found: dict[str, float | None] = _again(self._forget_hosts)(hosts, now, down_time)
        return found

    def _forget_hosts(
        self, hosts: Collection[str], now: float, down_time: float
    ) -> dict[str, float | None]:
        with database.writing(self._engine) as connection:
            chosen = sa.select(NODES.c.host, NODES.c.state, NODES.c.seen)
            chosen = chosen.where(NODES.c.host.in_(hosts)).order_by(NODES.c.host)
            rows = connection.execute(chosen.with_for_update()).all()
            seen = {row.host: row.seen for row in rows}
            staying = {
                host: seen.get(host)
                for host in hosts
                if host not in seen or is_alive(seen[host], now, down_time)
            }
            if not staying:
                _delete(connection, [(row.host, row.state) for row in rows], 'asked for')
        return staying

    def _forget_events(self, before: float) -> int:
        with database.writing(self._engine) as connection:
            chosen = sa.select(EVENTS.c.id).where(EVENTS.c.time < before).limit(CHUNK)
            ids = connection.execute(chosen).scalars().all()
            if ids:
                connection.execute(sa.delete(EVENTS).where(EVENTS.c.id.in_(ids)))
        return len(ids)


def _delete(connection: sa.Connection, nodes: Sequence[tuple[str, str]], message: str) -> None:
    """Delete nodes, given by name and state, with their reports, and tell it."""
    if not nodes:
        return
    for table in (NODES, REPORTS):
        connection.execute(sa.delete(table).where(table.c.host.in_([host for host, _ in nodes])))
    now, kind = time.time(), Kind.FORGOTTEN.value
    told = [Event(now, host, kind, state, None, None, message) for host, state in nodes]
    connection.execute(sa.insert(EVENTS), [_row(each) for each in told])


def _again(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as one that is tried again when another collector was in its way."""
    wrapped: Callable[..., Any] = db_api.wrap_db_retry(
        retry_interval=0.1,
        max_retries=TRIES,
        max_retry_interval=2,
        retry_on_deadlock=True,
        # Both found a new node; now it is there.
        exception_checker=lambda error: isinstance(error, db_exception.DBDuplicateEntry),
    )(function)
    return wrapped


def _nodes(connection: sa.Connection, hosts: Sequence[str]) -> dict[str, Node]:
    # In one order, or two collectors lock each other out.
    chosen = sa.select(NODES).where(NODES.c.host.in_(hosts)).order_by(NODES.c.host)
    rows = connection.execute(chosen.with_for_update())
    now = time.time()
    return {row.host: not_ahead(Node(**row._mapping), now) for row in rows}


def _too_many(connection: sa.Connection, new: Sequence[str], most: int) -> set[str]:
    there = connection.execute(sa.select(sa.func.count()).select_from(NODES)).scalar_one()
    return set(new[max(most - there, 0) :])


def _merged(
    node: Node | None,
    digests: Sequence[Digest],
    down_time: float,
    taken: collections.Counter[Taken],
) -> Merged:
    events: list[Event] = []
    text = None
    for digest in digests:
        found = merge(node, digest, down_time)
        node = found.node
        taken[found.taken] += 1
        events += found.events
        text = found.text or text
    assert node is not None  # noqa: S101  # there is at least one report
    return Merged(node, tuple(events), text)


def _insert(connection: sa.Connection, merged: Mapping[str, Merged], hosts: Sequence[str]) -> None:
    """Write new nodes; fails where another collector has just done so."""
    if hosts:
        nodes = [_row(merged[host].node) for host in sorted(hosts)]
        texts = [{'host': host, 'text': merged[host].text} for host in sorted(hosts)]
        connection.execute(sa.insert(NODES), nodes)
        connection.execute(sa.insert(REPORTS), texts)


def _row(value: Node | Event) -> dict[str, Any]:
    # dataclasses.asdict copies deeply, and takes longer than the rest.
    return {name: getattr(value, name) for name in value.__slots__}


def _replacing(engine: sa.Engine, table: sa.Table) -> sa.Insert:
    """Return an insert that overwrites: many rows in one statement, which no update can."""
    others = [column.name for column in table.c if not column.primary_key]
    if engine.dialect.name == 'sqlite':
        into = sqlite.insert(table)
        return into.on_conflict_do_update(
            index_elements=['host'], set_={name: into.excluded[name] for name in others}
        )
    statement = mysql.insert(table)
    return statement.on_duplicate_key_update({name: statement.inserted[name] for name in others})
