"""Tables for people, which fit the terminal and cannot speak to it; and rows for spreadsheets."""

import abc
import argparse
import csv
import shutil
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from cliff import columns
from cliff.formatters import base, table

#: Rows from which a table is drawn by ourselves: cliff's takes several times as long.
MANY = 500

#: Characters: narrower columns are not read any more, but overflow.
LEAST_WIDTH = 8


class Table(table.TableFormatter):
    """Rows under headings in capitals; ``-`` where there is nothing."""

    def emit_list(
        self,
        column_names: Sequence[str],
        data: Iterable[Sequence[Any]],
        stdout: TextIO,
        parsed_args: argparse.Namespace,
    ) -> None:
        """Write the table, as wide as the terminal at most."""
        rows = [[name.upper() for name in column_names]]
        rows += [[_cell(value) for value in row] for row in data]
        width = parsed_args.max_width
        # A fleet folded into a narrow terminal is not read, and takes seconds.
        fitted = stdout.isatty() and len(rows) <= MANY
        if width <= 0 and (fitted or parsed_args.fit_width):
            width = shutil.get_terminal_size().columns
        if width > 0:
            rows = _fitted(rows, width)
        if len(rows) > MANY and not any('\n' in cell for row in rows for cell in row):
            stdout.writelines(_drawn(rows))
            return
        super().emit_list(rows[0], rows[1:], stdout, parsed_args)

    def emit_dicts(
        self,
        column_names: Sequence[str],
        data: Iterable[Mapping[str, Any]],
        stdout: TextIO,
        parsed_args: argparse.Namespace,
    ) -> None:
        """Write some of what the dicts hold."""
        rows = [[each[name] for name in column_names] for each in data]
        self.emit_list(column_names, rows, stdout, parsed_args)


class WholeTable(Table, abc.ABC):
    """A thing that is more than one table; a choice of its columns is shown the common way."""

    def emit_one(
        self,
        column_names: Sequence[str],
        data: Sequence[Any],
        stdout: TextIO,
        parsed_args: argparse.Namespace,
    ) -> None:
        """Write it, or field by field what of it was chosen."""
        if parsed_args.columns:
            super().emit_one(column_names, data, stdout, parsed_args)
        else:
            self.show(dict(zip(column_names, data, strict=True)), stdout, parsed_args)

    @abc.abstractmethod
    def show(
        self, thing: Mapping[str, Any], stdout: TextIO, parsed_args: argparse.Namespace
    ) -> None:
        """Write all of it for people."""


class RowsCSV(base.SingleFormatter, abc.ABC):
    """A thing that holds many of a kind, as the rows of a spreadsheet."""

    def add_argument_group(self, parser: argparse.ArgumentParser) -> None:
        """Add nothing."""

    def emit_one(
        self,
        column_names: Sequence[str],
        data: Sequence[Any],
        stdout: TextIO,
        parsed_args: argparse.Namespace,
    ) -> None:
        """Write all of its rows, or the chosen columns as one row."""
        thing = dict(zip(column_names, data, strict=True))
        rows = (column_names, data) if parsed_args.columns else self.rows(thing)
        csv.writer(stdout, lineterminator='\n').writerows(rows)

    @abc.abstractmethod
    def rows(self, thing: Mapping[str, Any]) -> Iterable[Sequence[Any]]:
        """Return the row of names, then those of values."""


class Moment(columns.FormattableColumn[float | None]):
    """A time, for machines in seconds since the epoch.

    :param otherwise: what people are shown instead of None
    """

    def __init__(self, value: float | None, otherwise: str = '-') -> None:
        super().__init__(value)
        self._otherwise = otherwise

    def human_readable(self) -> str:
        """Return the time in UTC."""
        return self._otherwise if self._value is None else moment(self._value)


def moment(seconds: float) -> str:
    """Return a time, given in seconds since the epoch, in UTC."""
    return time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime(seconds))


def printable(text: str) -> str:
    """Return text that cannot speak to the terminal: what it names may be somebody else's."""
    if text.isprintable():
        return text
    return ''.join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _drawn(rows: list[list[str]]) -> Iterator[str]:
    """Yield the lines of a table of single lines; it looks as cliff's does."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = '+'.join(('', *('-' * (width + 2) for width in widths), '')) + '\n'
    line = f'| {" | ".join(f"{{:<{width}}}" for width in widths)} |\n'
    yield rule
    yield line.format(*rows[0])
    yield rule
    for row in rows[1:]:
        yield line.format(*row)
    yield rule


def _fitted(rows: list[list[str]], total: int) -> list[list[str]]:
    """Wrap the widest columns until a table is not wider than ``total``.

    The last column, which is prose, is left twice the width of others.
    """
    columns = list(zip(*rows, strict=True))
    last = len(columns) - 1
    widths = [_width(each) for each in columns]
    room = max(total - 1 - 3 * len(columns), LEAST_WIDTH * len(columns))
    if sum(widths) <= room:
        return rows
    while sum(widths) > room:
        widest = max(range(len(widths)), key=lambda n: widths[n] / (2 if n == last else 1))
        widths[widest] -= 1
    fitted = [
        [_wrapped(cell, width) for cell in each]
        for each, width in zip(columns[:last], widths, strict=False)
    ]
    # Wrapped lines are rarely as long as they may be.
    left = room - sum(_width(each) for each in fitted)
    fitted.append([_wrapped(cell, left) for cell in columns[last]])
    return [list(row) for row in zip(*fitted, strict=True)]


def _width(cells: Iterable[str]) -> int:
    return max(len(line) for cell in cells for line in cell.split('\n'))


def _wrapped(cell: str, width: int) -> str:
    if len(cell) <= width:
        return cell
    return '\n'.join(
        piece for line in cell.split('\n') for piece in textwrap.wrap(line, width) or ['']
    )


def _cell(value: object) -> str:
    if isinstance(value, str):  # most are
        return printable(value)
    if isinstance(value, columns.FormattableColumn):
        text = value.human_readable()
        # Its lines are its own.
        return text if text.isprintable() else '\n'.join(map(printable, text.splitlines()))
    return '-' if value is None else printable(str(value))
