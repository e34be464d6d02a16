"""The documentation knows every word of the code, and none that is not in it."""

import ast
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from oslotest import base

import nested_agent

# isort: split
from nested_agent.cmd import exit_codes, node_events
from nested_agent.collector.endpoints import Answers, Reports
from nested_agent.collector.node import Kind
from nested_agent.conf import collector, opts
from nested_agent.model import ActionKind, ConditionType, Result, State, Status
from nested_agent.rpc import api, fleet
from nested_agent.rpc.endpoint import Endpoint

PACKAGE = Path(nested_agent.__file__).parent
CHECKOUT = Path(__file__).parents[2]
DOCS = CHECKOUT / 'doc' / 'source'
REASONS = DOCS / 'admin' / 'reasons.rst'
#: What names reasons. The drivers of this project; another party documents its own.
JUDGING = ('verify', 'drivers', 'guest_cpu.py', 'agent.py')
WORD = re.compile(r'(?:[A-Z][a-z]+|KVM|CPU)(?:[A-Z][a-z]+|KVM|CPU)*')
#: Words of the same form there that are no reasons; whatever else is new has to be documented.
OTHERS = {
    # facts.Unread.error
    *('NotAvailable', 'OtherArchitecture', 'Timeout'),
    # vendors of processors
    *('CentaurHauls', 'GenuineIntel', 'HygonGenuine', 'Shanghai'),
    # names of classes in __all__
    *('Driver', 'Exposure', 'GuestCPU', 'LoadValue', 'Verdict'),
    # the beginning that FlagRequired and FlagDisabled share
    'Flag',
}
ANY = 'any'


class Case(NamedTuple):
    """A judgement as the code has it; type None where the function judges several."""

    reason: str
    status: Status
    type: ConditionType | None


def trees() -> Iterator[ast.Module]:
    for name in JUDGING:
        path = PACKAGE / name
        for each in sorted(path.rglob('*.py')) if path.is_dir() else [path]:
            yield ast.parse(each.read_text())


def reasons_in_code() -> set[str]:
    """Return every word of a reason's form that is a string of its own; no reason is made up."""
    found = {
        node.value
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and WORD.fullmatch(node.value)
    }
    return found - OTHERS


def cases_in_code() -> Iterator[Case]:
    """Yield the calls of true(), false() and unknown() that name their reason."""
    statuses = {each.name.lower(): each for each in Status}
    for tree in trees():
        module_type = _assigned_type(tree.body)
        for function in (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)):
            local = _assigned_type(function.body) or module_type
            for node in ast.walk(function):
                if not isinstance(node, ast.Call) or len(node.args) < 2:
                    continue
                status = statuses.get(getattr(node.func, 'id', ''))
                if status is None:
                    continue
                known = _condition_type(node.args[0])
                taken = {each.arg for each in function.args.args}
                if known is None and getattr(node.args[0], 'id', '') not in taken:
                    known = local
                for each in ast.walk(node.args[1]):
                    if isinstance(each, ast.Constant) and isinstance(each.value, str):
                        yield Case(each.value, status, known)


def _assigned_type(body: list[ast.stmt]) -> ConditionType | None:
    for each in body:
        if isinstance(each, ast.Assign) and (found := _condition_type(each.value)):
            return found
    return None


def _condition_type(node: ast.expr) -> ConditionType | None:
    if isinstance(node, ast.Attribute) and getattr(node.value, 'id', '') == 'ConditionType':
        return ConditionType[node.attr]
    return None


def documented() -> dict[str, set[tuple[str, Status]]]:
    """Return what the glossary says of each reason: the conditions and their statuses."""
    found: dict[str, set[tuple[str, Status]]] = {}
    lines = iter(REASONS.read_text().partition('.. glossary::')[2].splitlines())
    for line in lines:
        term = re.fullmatch(r' {3}(\w+)', line)
        if term:
            where = re.fullmatch(r' {6}\*(.+)\.\*', next(lines))
            assert where, f'{term[1]}: no line with its conditions and statuses'
            pairs = (each.split(': ') for each in where[1].split('. '))
            assert term[1] not in found, f'{term[1]} is there twice'
            found[term[1]] = {(type_, Status(status)) for type_, status in pairs}
    return found


class ReasonsTest(base.BaseTestCase):
    def test_every_reason_is_documented_and_no_other(self) -> None:
        self.assertEqual(sorted(reasons_in_code()), sorted(documented()))

    def test_with_their_statuses_and_conditions(self) -> None:
        known = documented()
        found = list(cases_in_code())
        self.assertGreater(len(found), 50)
        missing = []
        for case in found:
            pairs = known.get(case.reason, set())
            types = {type_ for type_, status in pairs if status is case.status}
            if not types or (case.type and not types & {ANY, case.type.value}):
                missing.append(case)
        self.assertEqual([], missing)

    def test_conditions_exist(self) -> None:
        types = {type_ for pairs in documented().values() for type_, _ in pairs}
        self.assertEqual(set(), types - {ANY, *(each.value for each in ConditionType)})

    def test_in_order(self) -> None:
        terms = list(documented())
        self.assertEqual(sorted(terms), terms)


class VocabularyTest(base.BaseTestCase):
    def test_states_conditions_and_exit_codes(self) -> None:
        text = (DOCS / 'admin' / 'states.rst').read_text()
        rows = dict(re.findall(r'^   \* - ``(\w+)``\n     - (\d)$', text, re.MULTILINE))
        self.assertEqual({str(each): str(exit_codes.OF_STATE[each]) for each in State}, rows)
        for type_ in ConditionType:
            self.assertIn(f'\n{type_}\n   ', text)

    def test_actions_and_results(self) -> None:
        text = (DOCS / 'admin' / 'remediation.rst').read_text()
        for each in (*ActionKind, *Result):
            self.assertIn(f'``{each}``', text)

    def test_rpc(self) -> None:
        text = (DOCS / 'reference' / 'rpc.rst').read_text()
        self.assertIn(f'``{api.TOPIC}``', text)
        self.assertIn(f'version **{api.VERSION}**', text)
        methods = {name for name in vars(Endpoint) if not name.startswith('_')}
        told = set(re.findall(r'^``(\w+)\(', text, re.MULTILINE))
        self.assertEqual(methods, told)
        errors = {
            error.__name__
            for error in vars(api).values()
            if isinstance(error, type)
            and issubclass(error, Exception)
            and error.__module__ == api.__name__
        }
        self.assertEqual(set(), {each for each in errors if f'``{each}``' not in text})

    def test_rpc_of_the_fleet(self) -> None:
        text = (DOCS / 'reference' / 'fleet.rst').read_text()
        for topic in (fleet.REPORTS, fleet.QUERIES):
            self.assertIn(f'``{topic}``', text)
        self.assertIn(f'version **{fleet.VERSION}**', text)
        methods = {
            name for kind in (Answers, Reports) for name in vars(kind) if not name.startswith('_')
        }
        self.assertEqual(methods, set(re.findall(r'^``(\w+)\(', text, re.MULTILINE)))
        for word in (*fleet.NODE_FILTERS, *fleet.EVENT_FILTERS):
            self.assertIn(f'``{word}``', text)

    def test_kinds_of_events(self) -> None:
        text = (DOCS / 'admin' / 'collector.rst').read_text()
        self.assertEqual(
            {str(each) for each in Kind},
            set(re.findall(r'^   \* - ``(\w+)``$', text, re.MULTILINE)),
        )
        self.assertEqual(tuple(Kind), node_events.KINDS)


class NamesTest(base.BaseTestCase):
    def pages(self) -> Iterator[tuple[str, str]]:
        for path in (CHECKOUT / 'README.rst', *sorted(DOCS.rglob('*.rst'))):
            yield path.name, path.read_text()

    def test_every_command_exists(self) -> None:
        # Of "node list", which is called node_list, the first word.
        known = {
            each.name.partition('_')[0] for each in metadata.entry_points(group='nested_agent.cli')
        } | {'help'}
        for name, text in self.pages():
            for command in re.findall(r'\bnested-agentctl ([a-z]+)\b', text):
                self.assertIn(command, known, name)

    def test_every_option_exists(self) -> None:
        known = {
            (group.name, option.dest)
            for group, options in (*opts.list_opts(), *collector.list_opts())
            if group is not None
            for option in options
        }
        groups = {group for group, _ in known}
        for name, text in self.pages():
            for group, option in re.findall(r'\[(\w+)\]\s(\w+)', text):
                if group in groups:
                    self.assertIn((group, option), known, name)


class PicturesTest(base.BaseTestCase):
    def test_they_say_what_was_recorded(self) -> None:
        records = sorted((DOCS / '_static').glob('*.console'))
        self.assertNotEqual([], records)
        for record in records:
            picture = ElementTree.parse(record.with_suffix('.svg'))
            drawn = ''.join(
                each.text or '' for each in picture.iter('{http://www.w3.org/2000/svg}text')
            )
            # What is blank is not drawn.
            self.assertEqual(_dense(record.read_text()), _dense(drawn), record.name)


def _dense(text: str) -> str:
    return ''.join(text.split())
