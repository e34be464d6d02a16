"""Dataclasses as plain dicts, for the wire and the disk, and back."""

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from nested_agent.unread import Unread

T = TypeVar('T')


def optional(make: Callable[[Any], T], value: object) -> T | None:
    """Return ``make(value)``, or None for None."""
    return None if value is None else make(value)


def to_plain(value: object) -> object:
    """Return dataclasses as dicts, tuples as lists, an Unread fact as ``{"unread": {...}}``.

    A field marked ``private`` is left out.
    """
    if isinstance(value, Unread):
        return {'unread': {'source': value.source, 'error': value.error, 'detail': value.detail}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not field.metadata.get('private')
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): to_plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(each) for each in value]
    return value
