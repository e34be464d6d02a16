"""Observation to Conditions and State. Pure: nothing here looks at the node."""

from nested_agent.verify.remediable import remediable
from nested_agent.verify.verdict import Verdict, verify, with_remediable

__all__ = ['Verdict', 'remediable', 'verify', 'with_remediable']
