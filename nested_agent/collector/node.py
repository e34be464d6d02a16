"""A node as it is kept, and what another report makes of it. Pure.

Reports come late, twice and out of order: several collectors compete for them, and the broker
delivers again what was not acknowledged. They are ordered by boot and number, never by time.

Nobody can prove on the message bus who he is. Two machines under one name, or somebody who makes
reports up, show as reports of two boots in turn: the one that came last into being stays, and an
event says so.
"""

import dataclasses
import enum

from nested_agent.collector.digest import MESSAGE_LENGTH, Digest

#: Seconds after a new boot in which reports of the one before may still come: they were delayed.
LATE_SECONDS = 60.0

#: Characters of all reasons of a node.
REASONS_LENGTH = 500

#: Seconds that the clocks of two collectors may differ; what is later was never.
AHEAD_SECONDS = 3600.0


class Kind(enum.StrEnum):
    """What an event tells."""

    STATE = 'state'  # another state than before, or the first report
    REMEDIATION = 'remediation'  # what a fix came to
    REBOOT = 'reboot'
    RETURNED = 'returned'  # it had been down
    CONTESTED = 'contested'  # reports of two boots come under its name
    RESTARTED = 'restarted'  # the agent counts its reports anew: its state directory was lost
    FORGOTTEN = 'forgotten'  # it was down for longer than nodes are kept, or somebody asked for it


class Taken(enum.StrEnum):
    """What became of a report."""

    ACCEPTED = 'accepted'  # the last of its node
    DUPLICATE = 'duplicate'
    STALE = 'stale'  # a later one was known, or another of the same number
    SUPERSEDED = 'superseded'  # by one that came before it was written
    REFUSED = 'refused'


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a node.

    :ivar time: seconds since the epoch, by the collector's clock
    :ivar before: state before it; None where there was none, or it does not matter
    :ivar reason: one word: of the state, or what the fix came to
    """

    time: float
    host: str
    kind: str
    before: str | None
    after: str | None
    reason: str | None
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """The last that is known of a node. All times: seconds since the epoch, our clock.

    :ivar since: when the state became what it is
    :ivar seen: when the last report came, of whatever age
    :ivar confirmed: when a report last said what is kept here
    :ivar booted: when the first report of this boot came
    :ivar boot_before: the boot before that
    :ivar contested: when an event last told that the name is contested
    :ivar run: id of the last remediation that is known
    """

    host: str
    state: str
    reasons: str
    vendor: str | None
    kernel: str | None
    release: str | None
    schema_version: str
    boot_id: str
    boot_before: str | None
    booted: float
    sequence: int
    since: float
    seen: float
    confirmed: float
    contested: float | None
    run: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Merged:
    """What a report makes of a node.

    :ivar text: the report, where it is to be kept in place of the one there is
    :ivar taken: what became of the report
    """

    node: Node
    events: tuple[Event, ...] = ()
    text: str | None = None
    taken: Taken = Taken.ACCEPTED


def is_alive(seen: float, now: float, down_time: float) -> bool:
    """Return whether a node last seen then is not down; ``queries`` says the same in SQL."""
    return -AHEAD_SECONDS <= now - seen <= down_time


def not_ahead(node: Node, now: float) -> Node:
    """Return the node without times that are yet to come: the clock they are of was wrong.

    Such a node would not be down, and nothing else be believed, until then.
    """
    times = (node.since, node.seen, node.confirmed, node.booted, node.contested or now)
    if max(times) <= now + AHEAD_SECONDS:
        return node
    return dataclasses.replace(
        node,
        since=min(node.since, now),
        seen=min(node.seen, now),
        confirmed=min(node.confirmed, now),
        booted=min(node.booted, now),
        contested=node.contested and min(node.contested, now),
    )


def merge(node: Node | None, digest: Digest, down_time: float) -> Merged:
    """Return the node as it is after a report.

    :param node: as it was; None: nobody knows of it
    :param down_time: seconds without a report after which a node is down. A report that seems to
        be older than what is kept, or has its number and says something else, is believed all the
        same if nothing else came for that long.
    """
    if node is None:
        return Merged(
            _new(digest), (_state_event(None, digest), *_run_events(None, digest)), digest.text
        )
    same_boot = digest.boot_id == node.boot_id
    if same_boot and digest.sequence == node.sequence and _says(digest, node):
        return _again(node, digest, down_time)
    # One of the same number that says something else is of an agent that counts anew.
    older = digest.sequence <= node.sequence if same_boot else digest.boot_id == node.boot_before
    if older and digest.received - node.confirmed <= down_time:
        return _late(node, digest, down_time, same_boot)
    events = list(_returned(node, digest, down_time))
    if not same_boot:
        events.append(_event(Kind.REBOOT, digest, f'boot {digest.boot_id or "unknown"}'))
    elif older:
        events.append(_event(Kind.RESTARTED, digest, 'the agent counts its reports anew'))
    if digest.state != node.state:
        events.append(_state_event(node.state, digest))
    events += _run_events(node.run, digest)
    newer = dataclasses.replace(
        _new(digest),
        booted=node.booted if same_boot else digest.received,
        boot_before=node.boot_before if same_boot else node.boot_id,
        since=node.since if digest.state == node.state else digest.received,
        seen=max(node.seen, digest.received),
        contested=node.contested,
        run=digest.run.id if digest.run else node.run,
    )
    return Merged(newer, tuple(events), digest.text)


def _new(digest: Digest) -> Node:
    now = digest.received
    return Node(
        host=digest.host,
        state=digest.state,
        reasons=joined(digest.reasons),
        vendor=digest.vendor,
        kernel=digest.kernel,
        release=digest.release,
        schema_version=digest.schema_version,
        boot_id=digest.boot_id,
        boot_before=None,
        booted=now,
        sequence=digest.sequence,
        since=now,
        seen=now,
        confirmed=now,
        contested=None,
        run=digest.run.id if digest.run else None,
    )


def _says(digest: Digest, node: Node) -> bool:
    """Whether a report says what is kept; one without a run leaves the last that is known."""
    same_run = digest.run is None or digest.run.id == node.run
    return same_run and digest.state == node.state and joined(digest.reasons) == node.reasons


def _again(node: Node, digest: Digest, down_time: float) -> Merged:
    """The same report: a sign of life."""
    seen = max(node.seen, digest.received)
    alive = dataclasses.replace(node, seen=seen, confirmed=max(node.confirmed, digest.received))
    events = tuple(_returned(node, digest, down_time))
    return Merged(alive, events, taken=Taken.DUPLICATE)


def _late(node: Node, digest: Digest, down_time: float, same_boot: bool) -> Merged:
    """A report that seems to be older: nothing it says is so any more."""
    seen = dataclasses.replace(node, seen=max(node.seen, digest.received))
    settled = digest.received - node.booted > LATE_SECONDS
    told = node.contested is not None and digest.received - node.contested <= down_time
    if same_boot or not settled or told:
        return Merged(seen, taken=Taken.STALE)
    message = (
        f'reports of boot {digest.boot_id or "unknown"} come besides those of boot '
        f'{node.boot_id or "unknown"}: two nodes have the same name, or somebody pretends to be it'
    )
    event = _event(Kind.CONTESTED, digest, message)
    told_now = dataclasses.replace(seen, contested=digest.received)
    return Merged(told_now, (event,), taken=Taken.STALE)


def _returned(node: Node, digest: Digest, down_time: float) -> list[Event]:
    silent = digest.received - node.seen
    if silent <= down_time:
        return []
    return [_event(Kind.RETURNED, digest, f'no report came for {silent:.0f} s')]


def _run_events(known: str | None, digest: Digest) -> list[Event]:
    run = digest.run
    if run is None or run.id == known:
        return []
    event = _event(Kind.REMEDIATION, digest, run.message)
    return [dataclasses.replace(event, before=run.before, after=run.after, reason=run.result)]


def _state_event(before: str | None, digest: Digest) -> Event:
    others = ' '.join(digest.reasons[1:])
    event = _event(Kind.STATE, digest, f'also {others}' if others else '')
    reason = digest.reasons[0] if digest.reasons else None
    return dataclasses.replace(event, before=before, after=digest.state, reason=reason)


def _event(kind: Kind, digest: Digest, message: str) -> Event:
    short = message[:MESSAGE_LENGTH]
    return Event(digest.received, digest.host, kind.value, None, None, None, short)


def joined(reasons: tuple[str, ...]) -> str:
    """Return reasons as they are kept: with a blank on both sides, so that one can be found."""
    kept = ''
    for reason in reasons:
        if len(kept) + len(reason) + 2 <= REASONS_LENGTH:
            kept += f' {reason}'
    return f'{kept} ' if kept else ''
