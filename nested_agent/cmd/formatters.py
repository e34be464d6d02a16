"""How a report is shown to people, and as CSV."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from nested_agent.cmd import action_rows
from nested_agent.cmd.tables import RowsCSV, WholeTable, moment, printable
from nested_agent.model import Action, Pause, Remediation

CONDITION_COLUMNS = ('type', 'status', 'reason', 'message')


class ReportTable(WholeTable):
    """The state in a line, the conditions in a table, then what would be done in another.

    Below them: whether fixes are paused, and what was done last.
    """

    def show(
        self, thing: Mapping[str, Any], stdout: TextIO, parsed_args: argparse.Namespace
    ) -> None:
        """Write the report."""
        stdout.write(f'{printable(_headline(thing))}\n')
        for problem in (thing['observation'] or {}).get('driver_problems', ()):
            stdout.write(f'{printable(problem)}\n')
        self.emit_dicts(CONDITION_COLUMNS, thing['conditions'], stdout, parsed_args)
        if thing['plan']:
            stdout.write('\nTo become compliant:\n')
            plan = [action_rows.gist(Action.from_dict(each)) for each in thing['plan']]
            self.emit_dicts(tuple(plan[0]), plan, stdout, parsed_args)
        if thing['remediation']:
            told = list(_remediation(Remediation.from_dict(thing['remediation'])))
            stdout.write(''.join(f'\n{printable(line)}' for line in told) + '\n' * bool(told))


def _headline(report: Mapping[str, Any]) -> str:
    policy = f'policy: nested {report["policy"]["nested"]}'
    driver = f'driver: {report["driver"] or "none"}'
    state = report['state'].upper()
    stale = f'  STALE: {report["stale"]}' if report.get('stale') else ''
    return f'{report["host"]}: {state}  ({policy}; {driver}; {moment(report["time"])}){stale}'


def _remediation(remediation: Remediation) -> Iterator[str]:
    if remediation.pause:
        yield paused(remediation.pause)
    run = remediation.last_run
    if run:
        yield (
            f'Last run: {moment(run.ended)}, {run.trigger}'
            f'{f" by {run.who}" if run.who else ""}: {run.result}; {run.message}'
        )


def paused(pause: Pause) -> str:
    """Return what a pause comes to, as a sentence."""
    until = '"nested-agentctl resume"' if pause.until is None else moment(pause.until)
    return f'Paused until {until} by {pause.who or "nobody in particular"}: {pause.reason}'


class ConditionsCSV(RowsCSV):
    """The conditions as rows: of a report they are what makes a spreadsheet."""

    def rows(self, thing: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
        """Return the names, and a row per condition."""
        columns = (*CONDITION_COLUMNS, 'observed', 'since')
        yield 'host', *columns
        for condition in thing['conditions']:
            yield thing['host'], *(condition[name] for name in columns)
