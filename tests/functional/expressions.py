"""PromQL as it stands in rules and dashboards: which metrics it uses, and which there are."""

import re
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
METRICS = CHECKOUT / 'doc' / 'source' / 'reference' / 'metrics.rst'
RULES = CHECKOUT / 'etc' / 'prometheus' / 'nested-agent.rules.yml'

#: What Prometheus adds to each target by itself.
OF_THE_TARGET = {'up': {'instance', 'job'}}

_ROW = re.compile(r'^   \* - ``(nested_\w+)``(?: \{(.*)\})?\n     - (\w+)$', re.MULTILINE)
_QUOTED = re.compile(r'"[^"]*"')
_SELECTOR = re.compile(r'([\w:]+)\s*\{([^}]*)\}')
_MATCHER = re.compile(r'(\w+)\s*(?:=|!=|=~|!~)\s*"([^"]*)"')
_GROUPING = re.compile(r'\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)')
_RANGE = re.compile(r'\[[^]]*\]')
_NAME = re.compile(r'(?<![\w.:])[A-Za-z_:][\w:]*(?!\s*\()(?![\w:])')
_WORDS = {'and', 'or', 'unless', 'bool', 'offset'}


def documented() -> dict[str, set[str]]:
    """Return the labels of every series of the reference, by name; without those of the target."""
    found: dict[str, set[str]] = {}
    for name, labels, type_ in _ROW.findall(METRICS.read_text()):
        names = set(re.findall(r'\w+', labels))
        if type_ == 'histogram':
            found |= {f'{name}_sum': names, f'{name}_count': names}
            found[f'{name}_bucket'] = names | {'le'}
        else:
            found[name] = names
    assert len(found) > 20, f'{METRICS}: {found}'
    return found


def used(expression: str) -> set[str]:
    """Return the names of the metrics in an expression."""
    text = _QUOTED.sub('""', expression)
    for pattern in (_GROUPING, _RANGE):
        text = pattern.sub(' ', text)
    text = re.sub(r'\{[^}]*\}', ' ', text)
    return set(_NAME.findall(text)) - _WORDS


def matchers(expression: str) -> Iterator[tuple[str, str, str]]:
    """Yield metric, label and value of each condition on a label."""
    for metric, conditions in _SELECTOR.findall(expression):
        for label, value in _MATCHER.findall(conditions):
            yield metric, label, value
