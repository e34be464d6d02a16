"""How a run is shown to people, and as CSV."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from nested_agent.cmd.action_rows import change
from nested_agent.cmd.tables import RowsCSV, WholeTable, moment, printable
from nested_agent.model import Outcome

COLUMNS = ('result', 'kind', 'target', 'before', 'after', 'message')


class RunTable(WholeTable):
    """What came of it in a line, then a row for each action."""

    def show(
        self, thing: Mapping[str, Any], stdout: TextIO, parsed_args: argparse.Namespace
    ) -> None:
        """Write the run."""
        stdout.write(f'{printable(_headline(thing))}\n')
        rows = [_gist(Outcome.from_dict(each)) for each in thing['outcomes']]
        if rows:
            self.emit_dicts(tuple(rows[0]), rows, stdout, parsed_args)


def _headline(run: Mapping[str, Any]) -> str:
    state = f'{run["state_before"]} -> {run["state_after"]}'
    took = f'{moment(run["ended"])}, {run["ended"] - run["began"]:.1f} s'
    return f'{run["result"].upper()}: {run["message"]}  ({state}; {took})'


def _gist(outcome: Outcome) -> dict[str, str | None]:
    return {
        'result': str(outcome.result),
        'kind': str(outcome.action.kind),
        'target': outcome.action.target,
        'change': change(outcome.action),
        'message': outcome.message,
    }


class OutcomesCSV(RowsCSV):
    """The outcomes as rows."""

    def rows(self, thing: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
        """Return the names, and a row per outcome."""
        yield 'run', *COLUMNS
        for each in thing['outcomes']:
            row = {**each['action'], **each}
            yield thing['id'], *(row[name] for name in COLUMNS)
