"""Imports point one way, and only node/ knows where the node's files are."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from oslotest import base

import nested_agent

PACKAGE = Path(nested_agent.__file__).parent

#: room: the rooms of this project it may import. A new room must find its place here.
ALLOWED = {
    'exceptions': set(),
    'unread': set(),
    'facts': {'unread'},
    'policy': set(),
    'model': {'exceptions', 'unread'},
    'drivers': {'facts'},
    'guest_cpu': {'drivers', 'policy'},
    'node': {'drivers', 'facts'},
    'verify': {'drivers', 'facts', 'guest_cpu', 'model', 'policy', 'proof'},
    'plan': {'drivers', 'facts', 'guest_cpu', 'model', 'policy', 'verify'},
    'report': {'drivers', 'facts', 'model', 'node', 'plan', 'policy', 'proof', 'verify'},
    'actions': {'drivers', 'durable', 'exceptions', 'facts', 'model', 'node', 'report', 'verify'},
    'remediation': {
        'actions',
        'durable',
        'exceptions',
        'facts',
        'lock',
        'model',
        'node',
        'report',
        'verify',
    },
    'reporting': {'durable', 'exceptions', 'model', 'remediation', 'rpc'},
    'conf': {'exceptions', 'policy', 'remediation'},
    'local': {
        'conf',
        'drivers',
        'exceptions',
        'model',
        'node',
        'proof',
        'remediation',
        'report',
        'reporting',
    },
    'bootstrap': set(),
    'durable': {'exceptions'},
    'lock': {'exceptions'},
    'proof': {'drivers', 'durable', 'exceptions', 'facts', 'lock', 'node'},
    'watch': set(),
    'sd_notify': set(),
    'mending': {'exceptions', 'model'},
    'agent': {'exceptions', 'mending', 'model', 'watch'},
    'rpc': {'exceptions', 'model'},
    'lifecycle': {'exceptions', 'sd_notify'},
    'collector': {'conf', 'exceptions', 'model', 'rpc', 'sd_notify'},
    'service': {
        'agent',
        'conf',
        'exceptions',
        'local',
        'mending',
        'model',
        'node',
        'remediation',
        'report',
        'reporting',
        'sd_notify',
    },
    'cmd': {
        'actions',
        'agent',
        'bootstrap',
        'collector',
        'conf',
        'drivers',
        'exceptions',
        'facts',
        'lifecycle',
        'local',
        'lock',
        'model',
        'node',
        'proof',
        'remediation',
        'report',
        'reporting',
        'rpc',
        'service',
    },
}
THE_NODE = re.compile(r'/(?:sys|proc)\b')
STARTS_PROCESSES = {'subprocess', 'multiprocessing', 'pty'}


def files():
    return sorted(path for path in PACKAGE.rglob('*.py') if path != PACKAGE / '__init__.py')


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imports(tree):
    for each in ast.walk(tree):
        if isinstance(each, ast.Import):
            yield from (name.name for name in each.names)
        elif isinstance(each, ast.ImportFrom):
            yield f'{each.module}'
            yield from (f'{each.module}.{name.name}' for name in each.names)


def docstrings(tree):
    """Return every string that is a statement by itself: docstrings, of attributes too."""
    return {
        id(each.value)
        for each in ast.walk(tree)
        if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)
    }


class LayeringTest(base.BaseTestCase):
    def test_imports_point_one_way(self):
        wrong = []
        for path in files():
            for name in imports(ast.parse(path.read_text())):
                parts = name.split('.')
                if parts[0] != 'nested_agent' or len(parts) < 2:
                    continue
                if parts[1] != room(path) and parts[1] not in ALLOWED[room(path)]:
                    wrong.append(f'{path.relative_to(PACKAGE)} imports {name}')
        self.assertEqual([], wrong)

    def test_only_node_knows_where_the_node_s_files_are(self):
        wrong = []
        for path in files():
            if room(path) == 'node':
                continue
            tree = ast.parse(path.read_text())
            passed_over = docstrings(tree)
            wrong += [
                f'{path.relative_to(PACKAGE)}:{each.lineno} {each.value!r}'
                for each in ast.walk(tree)
                if isinstance(each, ast.Constant)
                and isinstance(each.value, str)
                and id(each) not in passed_over
                and THE_NODE.search(each.value)
            ]
        self.assertEqual([], wrong)

    def test_one_place_starts_processes(self):
        found = [
            str(path.relative_to(PACKAGE))
            for path in files()
            if STARTS_PROCESSES
            & {name.split('.')[0] for name in imports(ast.parse(path.read_text()))}
        ]
        self.assertEqual(['node/root.py'], found)

    def test_nobody_imports_eventlet(self):
        for path in files():
            names = {name.split('.')[0] for name in imports(ast.parse(path.read_text()))}
            self.assertEqual(set(), names & {'eventlet', 'greenlet'}, path)

    def test_only_conf_and_cmd_know_oslo_config_options(self):
        # service reads the options that a reload may change.
        allowed = {'collector', 'conf', 'cmd', 'local', 'service'}
        for path in files():
            names = set(imports(ast.parse(path.read_text())))
            # node/ evaluates *nova's* options with oslo.config; it never sees ours.
            if 'nested_agent.conf' in {'.'.join(name.split('.')[:2]) for name in names}:
                self.assertIn(room(path), allowed, path)

    def test_only_the_command_starts_a_guest(self):
        """The daemon never does."""
        found = {
            str(path.relative_to(PACKAGE))
            for path in files()
            for name in imports(ast.parse(path.read_text()))
            if name in ('nested_agent.proof.prove', 'nested_agent.proof.machine')
        }
        self.assertEqual({'cmd/prove.py', 'proof/__main__.py'}, found)

    def test_only_the_collector_needs_its_extra(self):
        """The agent and nested-agentctl have none of it installed."""
        extra = {'alembic', 'oslo_db', 'pymysql', 'sqlalchemy'}
        wrong = []
        for path in files():
            for name in imports(ast.parse(path.read_text())):
                wrong += [
                    f'{path.relative_to(PACKAGE)} imports {name}'
                    for _ in extra & {name.split('.')[0]}
                    if room(path) != 'collector'
                ]
                if name.startswith('nested_agent.collector') and room(path) != 'collector':
                    wrong.append(f'{path.relative_to(PACKAGE)} imports {name}')
        commands = (
            'cmd/collector.py',
            'cmd/collector_manage.py',
            'cmd/upgrade_collector.py',
            'conf/collector.py',
        )
        self.assertEqual([], [each for each in wrong if not each.startswith(commands)])

    def test_asking_others_takes_nothing_that_looks_at_this_node(self):
        """It would be a tenth of the time that a command takes to start."""
        script = (
            'import sys\n'
            'from nested_agent import bootstrap\n'
            'from nested_agent.cmd import agentctl, ping\n'
            'from nested_agent.cmd import node_events, node_list, node_show, node_summary\n'
            'from nested_agent.rpc import client, fleet_client\n'
            'print(*sys.modules)'
        )
        command = [sys.executable, '-c', script]
        taken = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        unused = ('facts', 'node', 'proof.guest', 'remediation.remediator', 'verify')
        unwanted = {f'nested_agent.{name}' for name in unused}
        self.assertNotIn(None, map(importlib.util.find_spec, unwanted))
        self.assertEqual(set(), unwanted & set(taken.split()))

    def test_the_agent_does_without_its_extra(self):
        """Only the channel that needs it imports it, and only the option that channel."""
        found = {
            str(path.relative_to(PACKAGE))
            for path in files()
            for name in imports(ast.parse(path.read_text()))
            if name.split('.')[0] == 'prometheus_client'
        }
        self.assertEqual({'collector/metrics.py', 'reporting/metrics.py'}, found)
        importing = {
            str(path.relative_to(PACKAGE))
            for path in files()
            for name in imports(ast.parse(path.read_text()))
            if name in ('nested_agent.reporting.metrics', 'nested_agent.reporting.textfile')
        }
        self.assertEqual({'cmd/agent.py', 'reporting/textfile.py'}, importing)

    def test_the_daemons_do_without_what_only_upgrades_need(self):
        needing = {
            str(path.relative_to(PACKAGE))
            for path in files()
            for name in imports(ast.parse(path.read_text()))
            if name.startswith(('oslo_upgradecheck', 'nested_agent.cmd.upgrade_'))
        }
        modules = {str(path.relative_to(PACKAGE)) for path in PACKAGE.glob('cmd/upgrade_*.py')}
        self.assertEqual(modules, needing)
