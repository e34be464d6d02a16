"""How a report is shown to people, and as CSV."""

import argparse
import csv
import datetime
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from cliff.formatters import base, table

CONDITION_COLUMNS = ('type', 'status', 'reason', 'message')
ACTION_COLUMNS = ('kind', 'target', 'before', 'after', 'disruption', 'why')


class ReportTable(table.TableFormatter):
    """The state in a line, the conditions in a table, then what would be done in another."""

    def emit_one(
        self,
        column_names: Sequence[str],
        data: Sequence[Any],
        stdout: TextIO,
        parsed_args: argparse.Namespace,
    ) -> None:
        """Write the report; a choice of columns is shown the common way, field by field."""
        report = dict(zip(column_names, data, strict=True))
        if parsed_args.columns:
            super().emit_one(column_names, data, stdout, parsed_args)
            return
        if stdout.isatty() and not parsed_args.max_width:
            parsed_args.max_width = shutil.get_terminal_size().columns
        stdout.write(f'{_printable(_headline(report))}\n')
        for problem in (report['observation'] or {}).get('driver_problems', ()):
            stdout.write(f'{_printable(problem)}\n')
        self._table(CONDITION_COLUMNS, report['conditions'], stdout, parsed_args)
        if report['plan']:
            stdout.write('\nTo become compliant:\n')
            self._table(ACTION_COLUMNS, report['plan'], stdout, parsed_args)

    def _table(
        self,
        columns: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        stdout: TextIO,
        parsed_args: argparse.Namespace,
    ) -> None:
        values = [
            ['-' if row[name] is None else _printable(row[name]) for name in columns]
            for row in rows
        ]
        self.emit_list([name.upper() for name in columns], values, stdout, parsed_args)


def _headline(report: Mapping[str, Any]) -> str:
    moment = datetime.datetime.fromtimestamp(report['time'], datetime.UTC)
    policy = f'policy: nested {report["policy"]["nested"]}'
    driver = f'driver: {report["driver"] or "none"}'
    state = report['state'].upper()
    stale = f'  STALE: {report["stale"]}' if report.get('stale') else ''
    return f'{report["host"]}: {state}  ({policy}; {driver}; {moment:%Y-%m-%d %H:%M:%SZ}){stale}'


def _printable(text: str) -> str:
    """Return text that cannot speak to the terminal: what it names may be somebody else's."""
    return ''.join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class ConditionsCSV(base.SingleFormatter):
    """The conditions as rows: of a report they are what makes a spreadsheet."""

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        """Add nothing."""

    def emit_one(
        self,
        column_names: Sequence[str],
        data: Sequence[Any],
        stdout: TextIO,
        parsed_args: argparse.Namespace,
    ) -> None:
        """Write a header and a row per condition, or the chosen columns as one row."""
        writer = csv.writer(stdout, lineterminator='\n')
        report = dict(zip(column_names, data, strict=True))
        if parsed_args.columns:
            writer.writerow(column_names)
            writer.writerow(data)
            return
        columns = (*CONDITION_COLUMNS, 'observed', 'since')
        writer.writerow(('host', *columns))
        for condition in report['conditions']:
            writer.writerow((report['host'], *(condition[name] for name in columns)))
