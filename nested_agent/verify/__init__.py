"""Observation to Conditions and State. Pure: nothing here looks at the node."""

from nested_agent.verify.verdict import verify

__all__ = ['verify']
