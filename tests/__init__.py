"""Tests; eventlet is blocked before any of them imports oslo.service or oslo.messaging."""

from nested_agent import bootstrap  # noqa: F401
