"""``nested-agentctl check`` on captured trees: output, exit codes, refusals."""

import csv
import io
import json
from pathlib import Path
from unittest import mock

import yaml
from oslotest import base

from nested_agent.cmd import agentctl
from nested_agent.cmd.formatters import ReportTable
from nested_agent.drivers import loader
from nested_agent.model import Report
from tests.unit.fakes import make_tree, write_tree
from tests.unit.nodes import amd, intel

LATER = {'/etc/modprobe.d/zzz.conf': 'options kvm_intel nested=0\n'}
OFF = {'/etc/modprobe.d/kvm.conf': 'options kvm_amd nested=0\n'}


class CommandTestCase(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        directory = make_tree({'/nested-agent.conf': ''})
        self.addCleanup(directory.cleanup)
        self.base = Path(directory.name)

    def tree(self, node=None):
        write_tree(self.base / 'node', (node or amd(nested='0', files=OFF)).tree())
        return str(self.base / 'node')

    def run_main(self, *arguments, conf=''):
        """Return exit code, standard output and standard error."""
        file = self.base / 'nested-agent.conf'
        file.write_text(conf)
        out, err = io.StringIO(), io.StringIO()
        with mock.patch('sys.stdout', out), mock.patch('sys.stderr', err):
            code = agentctl.main([f'--config-file={file}', *arguments])
        return code, out.getvalue(), err.getvalue()

    def check(self, *arguments, node=None, conf=''):
        return self.run_main('check', '--root', self.tree(node), *arguments, conf=conf)


class CheckTest(CommandTestCase):
    def test_the_table(self):
        code, out, err = self.check()
        self.assertEqual((1, ''), (code, err))
        lines = out.splitlines()
        self.assertTrue(lines[0].startswith('node1: DRIFTED  (policy: nested enabled; driver: amd'))
        self.assertIn('| NestedRuntime', out)
        self.assertIn('/etc/modprobe.d/kvm.conf:1', out)
        self.assertLess(out.index('NestedRuntime'), out.index('To become compliant:'))
        self.assertIn('reload-module', out[out.index('To become compliant:') :])

    def test_a_table_fits_its_terminal(self):
        tree = self.tree()
        file = self.base / 'nested-agent.conf'

        class Terminal(io.StringIO):
            def isatty(self):
                return True

        out = Terminal()
        size = mock.patch('shutil.get_terminal_size', return_value=mock.Mock(columns=100))
        with mock.patch('sys.stdout', out), size:
            agentctl.main([f'--config-file={file}', 'check', '--root', tree])
        self.assertGreaterEqual(100, max(len(line) for line in out.getvalue().splitlines()))

    def test_a_tree_cannot_speak_to_the_terminal(self):
        node = amd(files={'/etc/hostname': 'evil\x1b[2J\n'})
        out = self.check(node=node)[1]
        self.assertNotIn('\x1b', out)
        self.assertIn('evil\\x1b[2J: ', out)

    def test_a_driver_that_cannot_be_loaded_is_told(self):
        loaded = loader.Loaded(loader.load().drivers, ('driver x cannot be loaded: why',))
        with mock.patch.object(loader, 'load', return_value=loaded):
            out = self.check()[1]
        self.assertEqual('driver x cannot be loaded: why', out.splitlines()[1])

    def test_a_link_to_this_host_is_still_a_tree(self):
        link = self.base / 'link'
        link.symlink_to('/')
        data = json.loads(self.run_main('check', '--root', str(link), '-f', 'json')[1])
        self.assertFalse(data['observation']['live'])

    def test_our_options_about_this_host_are_not_the_tree_s(self):
        conf = '[DEFAULT]\nhost = here\n[nova]\nconfig_file = /nonexistent\n'
        data = json.loads(self.check('-f', 'json', conf=conf)[1])
        self.assertEqual('node1', data['host'])
        self.assertEqual('debian', data['observation']['nova']['found_by'])

    def test_json_is_the_report(self):
        code, out, _ = self.check('-f', 'json')
        data = json.loads(out)
        self.assertEqual(1, code)
        self.assertEqual('1.3', data['schema_version'])
        self.assertIsNone(data['remediation'])
        self.assertEqual(
            {'type', 'status', 'reason', 'message', 'since', 'observed'}, set(data['conditions'][0])
        )
        self.assertEqual('drifted', Report.from_dict(data).state)
        self.assertEqual('0', data['observation']['modules']['kvm_amd']['parameters']['nested'])
        self.assertEqual('NotAvailable', data['observation']['kvm']['unread']['error'])

    def test_yaml_is_the_report_too(self):
        out = self.check('-f', 'yaml')[1]
        self.assertEqual('drifted', yaml.safe_load(out)['state'])

    def test_one_value_for_scripts(self):
        self.assertEqual((1, 'drifted\n', ''), self.check('-f', 'value', '-c', 'state'))

    def test_csv_has_a_row_per_condition(self):
        rows = list(csv.DictReader(io.StringIO(self.check('-f', 'csv')[1])))
        found = {row['type']: row for row in rows}
        self.assertEqual(8, len(found))
        self.assertEqual(('node1', 'False'), (rows[0]['host'], found['NestedRuntime']['status']))

    def test_exit_codes(self):
        for node, code in (
            (amd(nested='0', files=OFF), 1),
            (intel(options='nested=0', files=LATER), 2),
            (amd(flags='fpu hypervisor', nested=None), 3),
            (amd(), 4),
        ):
            write_tree(self.base / str(code), node.tree())
            found = self.run_main('check', '--root', str(self.base / str(code)))
            self.assertEqual(code, found[0], found)

    def test_compliant_is_zero(self):
        node = amd(flags='fpu hypervisor', nested=None)
        found = self.check(node=node, conf='[policy]\nnested = disabled\n')
        self.assertEqual(0, found[0], found)

    def test_policy_is_read(self):
        data = json.loads(self.check('-f', 'json', conf='[policy]\nnested=disabled\n')[1])
        self.assertEqual('disabled', data['policy']['nested'])


class RefusalTest(CommandTestCase):
    def refused(self, *arguments, conf='', says):
        code, out, err = self.run_main(*arguments, conf=conf)
        self.assertEqual(64, code, err)
        self.assertNotIn('Traceback', err)
        for word in says:
            self.assertIn(word, out + err)

    def test_bad_option_values_name_file_group_and_option(self):
        for conf, words in (
            ('[policy]\nnested = maybe\n', ('[policy] nested', 'maybe', 'nested-agent.conf')),
            ('[policy]\nminimum_kernel = new\n', ('minimum_kernel', 'new', 'nested-agent.conf')),
            ('[policy]\ncpu_mode = none\n', ('[policy] cpu_mode', 'none')),
            ('nested = enabled\n', ('nested-agent.conf',)),
            ('[DEFAULT]\nhost = a b\n', ('[DEFAULT] host', 'a b')),
        ):
            self.refused('check', '--root', self.base.as_posix(), conf=conf, says=words)

    def test_the_line_at_fault_is_not_shown(self):
        for conf in (
            'transport_url = rabbit://u:topsecret@h/\n',
            '[DEFAULT]\n transport_url = rabbit://u:topsecret@h/\n',
            '[DEFAULT]\ntopsecret\n',
        ):
            code, out, err = self.run_main('check', conf=conf)
            self.assertEqual(64, code)
            self.assertIn('nested-agent.conf:', err)
            self.assertNotIn('topsecret', out + err)

    def test_a_missing_configuration_file(self):
        self.refused('--config-file', '/nonexistent.conf', 'check', says=['/nonexistent.conf'])

    def test_a_missing_root(self):
        self.refused('check', '--root', '/nonexistent', says=['/nonexistent'])

    def test_an_unknown_column(self):
        self.refused('check', '--root', self.tree(), '-c', 'sate', says=['sate', 'state'])

    def test_an_unknown_option(self):
        self.refused('check', '--colour', says=['--colour'])

    def test_an_unknown_command(self):
        self.refused('chekc', says=['check'])

    def test_no_command(self):
        self.refused(says=['check', 'exit codes'])

    def test_help_is_no_error(self):
        for arguments in (['--help'], ['check', '--help'], ['help', 'check']):
            code, out, _ = self.run_main(*arguments)
            self.assertEqual(0, code)
            self.assertIn('usage: ', out)

    def test_a_defect_is_70(self):
        with mock.patch.object(ReportTable, 'emit_one', side_effect=RuntimeError('defect')):
            code, _, err = self.check()
        self.assertEqual(70, code)
        self.assertIn('defect', err)


class SinceTest(CommandTestCase):
    def test_a_damaged_last_report_is_told_and_passed_over(self):
        (self.base / 'report.json').write_text('{"schema_version": "9.0"}')
        conf = f'[agent]\nstate_dir = {self.base}\n'
        code, out, err = self.run_main('check', '-f', 'json', conf=conf)
        self.assertIn(code, range(5))
        self.assertIn('report.json', err)
        self.assertIsNone(json.loads(out)['conditions'][0]['since'])
