"""Actions as rows: all there is for programs, the gist for people."""

from nested_agent.model import Action, ActionKind, Disruption

#: For programs.
COLUMNS = ('kind', 'target', 'before', 'after', 'when', 'disruption', 'why')


def row(action: Action) -> tuple[str | None, ...]:
    """Return the values of :data:`COLUMNS`."""
    return (
        str(action.kind),
        action.target,
        action.before,
        action.after,
        when(action),
        str(action.disruption),
        action.why,
    )


def when(action: Action) -> str:
    """Return ``now``, ``idle`` (the module is in use), ``reboot``, or ``by hand``.

    What takes a reboot takes a person: the agent boots no node.
    """
    if action.disruption is Disruption.REBOOT:
        return 'reboot'
    if action.kind is ActionKind.BY_HAND:
        return 'by hand'
    return 'now' if action.now else 'idle'


def change(action: Action) -> str | None:
    """Return what becomes of the value, None where there is none."""
    if action.before is None and action.after is None:
        return None
    return f'{action.before or "-"} -> {action.after or "-"}'


def gist(action: Action) -> dict[str, str | None]:
    """Return what people are shown; the disruption follows from the kind, and when."""
    return {
        'when': when(action),
        'kind': str(action.kind),
        'target': action.target,
        'change': change(action),
        'why': action.why,
    }
