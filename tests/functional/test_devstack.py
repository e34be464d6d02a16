"""The DevStack plugin: what it does in every phase, and the agent as DevStack runs it."""

import re
import shlex
import signal
import subprocess

from oslo_config import cfg
from oslotest import base

from nested_agent.cmd import collector
from nested_agent.conf import load
from tests.functional.daemon import COMMANDS, DEADLINE, wait_for
from tests.functional.devstack.host import BROKER, PATH, REPOSITORY, UNIT, Host

CONF = '/etc/nested-agent/nested-agent.conf'
JOURNAL = 'journalctl -u devstack@nested-agent'
CONTROLLER = 'mysql,rabbit,key,n-api,n-sch,n-cond'
ALL_IN_ONE = 'mysql,rabbit,key,n-api,n-cpu,nested-collector'
COMPUTE = 'n-cpu,placement-client,ovn-controller'
# Of set -o: what stack.sh has, what it has with NOUNSET, and what unstack.sh has.
OPTIONS = ('errexit', 'errexit:nounset', 'xtrace')
CONFIGURATION = {
    'DEFAULT': {
        'debug': 'True',
        'log_color': 'False',
        'transport_url': f'rabbit://stackrabbit:s3cret@{BROKER}:5672/',
    },
    'agent': {'state_dir': '/var/lib/nested-agent', 'run_dir': '/run/nested-agent'},
    'nova': {'config_file': '/etc/nova/nova-cpu.conf'},
    'policy': {'nested': 'enabled', 'fix_cpu_mode': 'host-passthrough'},
    'remediation': {'mode': 'enforce', 'splay': '0', 'contest_period': '600'},
}
COLLECTOR = {
    'DEFAULT': CONFIGURATION['DEFAULT'],
    'database': {
        'connection': 'mysql+pymysql://root:s3cret@192.0.2.1/nested_collector'
        '?charset=utf8&plugin=dbcounter'
    },
}
# What matters of the order; what is only said is left out, and who became root for it.
STACKED = """\
phase settings
define_plugin nested-agent
enable_service nested-agent
phase stack pre-install
stop_process nested-agent
phase stack install
setup_develop PLUGIN
phase stack post-config
install -d -o STACK_USER /etc/nested-agent
setup_logging CONF
iniset_rpc_backend nested-agent CONF
nova-compute starts
phase stack extra
nested-agentctl remediate
run_process nested-agent /bin/nested-agent --config-file CONF '' root ''
systemctl daemon-reload
service_check nested-agent
phase stack test-config
systemctl is-active --quiet devstack@nested-agent.service
nested-agentctl status -f value -c stale
nested-agentctl status
nested-agentctl status -f value -c state
"""
COLLECTED = """\
phase settings
define_plugin nested-agent
enable_service nested-agent
phase stack pre-install
stop_process nested-agent
stop_process nested-collector
phase stack install
setup_develop PLUGIN collector
phase stack post-config
install -d -o STACK_USER /etc/nested-agent
setup_logging CONF
iniset_rpc_backend nested-agent CONF
install -d -o STACK_USER /etc/nested-agent
setup_logging COLLECTOR
iniset_rpc_backend nested-agent COLLECTOR
database_connection_url nested_collector
nova-compute starts
phase stack extra
recreate_database nested_collector
nested-collector-manage --config-file COLLECTOR db sync
run_process nested-collector /bin/nested-collector --config-file COLLECTOR
nested-agentctl remediate
run_process nested-agent /bin/nested-agent --config-file CONF '' root ''
systemctl daemon-reload
service_check nested-agent
service_check nested-collector
phase stack test-config
systemctl is-active --quiet devstack@nested-agent.service
nested-agentctl status -f value -c stale
nested-agentctl status
nested-agentctl status -f value -c state
nested-agentctl node summary
"""


class PluginTestCase(base.BaseTestCase):
    def host(self, *arguments, **local):
        return self.useFixture(Host(*arguments, **local))

    def ran(self, host, script, **local):
        """Run a script that succeeds, and return its calls as text."""
        done = host.run(script, **local)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual('', host.left)
        return self.told(host)

    def told(self, host):
        lines = []
        for function, *arguments in host.calls:
            if function == 'sudo' and 'install' in arguments[:1]:
                function, *arguments = arguments
            if function not in ('sudo', 'echo_summary'):
                words = [word or "''" for word in (function, *arguments)]
                lines.append(' '.join(words) + '\n')
        return ''.join(lines)

    def stacked(self, host):
        names = {
            str(host.plugin): 'PLUGIN',
            str(host.plugin).replace(str(host.base), ''): 'PLUGIN',
            CONF: 'CONF',
            CONF.replace('agent.conf', 'collector.conf'): 'COLLECTOR',
            f'-o {_user()} ': '-o STACK_USER ',
        }
        told = self.told(host)
        for name, instead in names.items():
            told = told.replace(name, instead)
        return told


class StackTest(PluginTestCase):
    def test_every_phase_does_its_part_in_its_time(self):
        for options in OPTIONS:
            with self.subTest(options=options):
                host = self.host()
                self.ran(host, 'stack', options=options)
                self.assertEqual(STACKED, self.stacked(host))
                self.assertEqual(CONFIGURATION, host.options())

    def test_stacking_twice_comes_to_the_same(self):
        host = self.host()
        self.ran(host, 'stack')
        first = host.conf.read_text(), host.unit.read_text(), host.files()
        self.ran(host, 'stack')
        self.assertEqual(STACKED, self.stacked(host))
        self.assertEqual(first, (host.conf.read_text(), host.unit.read_text(), host.files()))

    def test_what_local_conf_does_not_say_any_more_is_gone(self):
        host = self.host()
        self.ran(host, 'stack', NESTED_AGENT_NESTED='disabled', LOCAL_CONF_MODE='off')
        self.assertEqual('disabled', host.options()['policy']['nested'])
        host.conf.write_text(host.conf.read_text() + '[prove]\ntimeout = 1\n')
        self.ran(host, 'stack')
        self.assertEqual(CONFIGURATION, host.options())

    def test_a_plugin_of_any_name_finds_itself(self):
        host = self.host()
        host.clone('my-copy')
        self.ran(host, 'stack')
        self.assertEqual([['/dest/my-copy']], host.called('setup_develop'))

    def test_the_password_is_for_the_stack_user_and_root(self):
        host = self.host()
        for _ in range(2):
            self.ran(host, 'stack')
            self.assertEqual(0o640, host.conf.stat().st_mode & 0o777)

    def test_the_agent_accepts_what_is_written(self):
        host = self.host()
        self.ran(host, 'stack', NESTED_AGENT_FIX_CPU_MODE='keep', NESTED_AGENT_NESTED='disabled')
        conf = cfg.ConfigOpts()
        load.load(conf, [str(host.conf)])
        self.assertEqual('keep', conf.policy.fix_cpu_mode)
        self.assertEqual('disabled', conf.policy.nested)
        self.assertEqual('enforce', conf.remediation.mode)
        self.assertEqual([str(host.nova_conf)], conf.nova.config_file)
        self.assertEqual(str(host.state_dir), conf.agent.state_dir)

    def test_the_unit(self):
        host = self.host()
        self.ran(host, 'stack')
        self.assertEqual(
            {
                'Type': 'simple',
                'User': 'root',
                'ExecStart': f'/bin/nested-agent --config-file {CONF}',
                'TimeoutStopSec': '40min',
            },
            host.service(),
        )
        ours = (REPOSITORY / 'etc/systemd/nested-agent.service').read_text()
        self.assertIn('TimeoutStopSec=40min\n', ours)

    def test_no_fix_but_by_enforce(self):
        for local in (
            {'NESTED_AGENT_REMEDIATION': 'noop'},
            {'NESTED_AGENT_REMEDIATION': 'off'},
            {'LOCAL_CONF_MODE': 'noop'},
        ):
            with self.subTest(local):
                host = self.host()
                told = self.ran(host, 'stack', **local)
                self.assertNotIn('remediate', told)
                self.assertIn('run_process nested-agent', told)
                self.assertEqual([*local.values()], [host.options()['remediation']['mode']])

    def test_local_conf_has_the_last_word(self):
        host = self.host()
        told = self.ran(host, 'stack', NESTED_AGENT_REMEDIATION='off', LOCAL_CONF_MODE='enforce')
        self.assertIn('nested-agentctl remediate', told)

    def test_what_needs_a_second_look_is_fixed_at_once_too(self):
        host = self.host()
        host.answer('remediate', '1 drifted', '0 compliant')
        told = self.ran(host, 'stack')
        self.assertEqual(2, told.count('nested-agentctl remediate\n'))
        self.assertLess(told.rindex('nested-agentctl remediate'), told.index('run_process'))

    def test_what_cannot_be_fixed_does_not_fail_the_stack(self):
        for code in (1, 2, 3, 4, 70, 75):
            with self.subTest(code=code):
                host = self.host()
                host.answer('remediate', f'{code} said')
                told = self.ran(host, 'stack')
                self.assertEqual(2, told.count('nested-agentctl remediate\n'))
                self.assertIn('run_process nested-agent', told)

    def test_user_units_are_refused_before_anything_is_done(self):
        host = self.host()
        done = host.run('stack', USER_UNITS='True')
        self.assertEqual(1, done.returncode)
        self.assertIn('USER_UNITS', done.stderr)
        self.assertEqual(set(), host.files())


class CheckTest(PluginTestCase):
    def test_any_state_will_do_and_is_shown(self):
        for code, state in ((1, 'drifted'), (2, 'blocked'), (3, 'unsupported'), (4, 'unknown')):
            with self.subTest(state):
                host = self.host()
                host.answer('status', f'{code} None', f'{code} {state}')
                self.ran(host, 'stack')
                said = [words[0] for words in host.called('echo_summary')]
                self.assertIn(f'nested-agent: this host is {state}', said)
                self.assertIn('/bin/nested-agentctl', said[-1])
                self.assertIn(JOURNAL, said[-1])

    def test_the_first_report_is_waited_for(self):
        host = self.host()
        host.answer('status', '4', '4 the agent was stopped', '0 None')
        told = self.ran(host, 'stack')
        self.assertEqual(3, told.count('-c stale\n'))

    def test_a_daemon_that_does_not_run_fails_the_stack(self):
        host = self.host()
        done = host.run('stack', DIES='yes', NESTED_AGENT_TIMEOUT='1')
        self.assert_failed(host, done)

    def test_a_daemon_that_does_not_report_fails_the_stack(self):
        host = self.host()
        host.answer('status', '4 the agent was stopped')
        done = host.run('stack', NESTED_AGENT_TIMEOUT='1')
        self.assert_failed(host, done)

    def assert_failed(self, host, done):
        self.assertEqual(1, done.returncode)
        said = f'nested-agent does not run, or does not report: see {JOURNAL}'
        self.assertEqual([[said]], host.called('die'))


class UnstackTest(PluginTestCase):
    def have_stacked(self, **local):
        host = self.host(**local)
        self.before = host.files()
        self.ran(host, 'stack')
        for path in (host.state_dir / 'history.json', host.run_dir / 'agent.lock'):
            path.parent.mkdir(parents=True)
            path.write_text('')
        return host

    def test_unstack_stops_it_and_keeps_what_it_knows(self):
        for options in ('', *OPTIONS):
            with self.subTest(options=options):
                host = self.have_stacked()
                files = host.files()
                told = self.ran(host, 'unstack', options=options)
                self.assertIn('stop_process nested-agent\n', told)
                self.assertNotIn('nested-agentctl', told)
                self.assertFalse((host.base / 'active' / UNIT).exists())
                self.assertEqual(files, host.files())

    def test_clean_undoes_and_leaves_nothing(self):
        for options in ('', *OPTIONS):
            with self.subTest(options=options):
                host = self.have_stacked()
                told = self.ran(host, 'clean', options=options)
                self.assertLess(
                    told.index('stop_process nested-agent'),
                    told.index('nested-agentctl revert --yes'),
                )
                self.assertEqual(self.before, host.files())
                for path in (host.conf.parent, host.state_dir, host.run_dir):
                    self.assertFalse(path.exists(), path)

    def test_clean_again_and_clean_without_a_stack_do_nothing(self):
        for host in (self.have_stacked(), self.host()):
            for _ in range(2):
                self.ran(host, 'clean')
            self.assertNotIn('nested-agentctl', self.told(host))
            self.assertEqual(set(), host.files())

    def test_what_could_not_be_undone_is_not_forgotten(self):
        host = self.have_stacked()
        host.answer('revert', '2 kvm.conf could not be restored')
        self.ran(host, 'clean')
        self.assertTrue((host.state_dir / 'history.json').exists())
        self.assertTrue(host.conf.exists())
        self.assertIn('/var/lib/nested-agent is kept', host.called('echo_summary')[-1][0])
        host.answer('revert', '0 reverted')
        self.ran(host, 'clean')
        self.assertEqual(self.before, host.files())

    def test_clean_without_the_commands_does_not_forget_either(self):
        host = self.have_stacked()
        (host.bin / 'nested-agentctl').unlink()
        self.ran(host, 'clean')
        self.assertTrue((host.state_dir / 'history.json').exists())

    def test_after_unstack_and_clean_it_stacks_as_ever(self):
        host = self.have_stacked()
        self.ran(host, 'unstack')
        self.ran(host, 'stack')
        self.assertEqual(STACKED, self.stacked(host))
        self.ran(host, 'clean')
        self.ran(host, 'stack')
        self.assertEqual(STACKED, self.stacked(host))


class NodesTest(PluginTestCase):
    def assert_untouched(self, host):
        for script in ('stack', 'unstack', 'clean'):
            for options in OPTIONS:
                told = self.ran(host, script, options=options)
                for word in (
                    'setup_develop',
                    'run_process',
                    'nested-agentctl',
                    'iniset',
                    'systemctl',
                ):
                    self.assertNotIn(word, told)
                self.assertEqual(set(), host.files())

    def test_a_controller_gets_nothing_and_nothing_fails(self):
        self.assert_untouched(self.host(CONTROLLER))

    def test_a_controller_with_the_same_local_conf_is_left_clean(self):
        # DevStack makes the directory and the file itself, for [[post-config|$NESTED_AGENT_CONF]].
        host = self.host(CONTROLLER)
        self.ran(host, 'stack', LOCAL_CONF_MODE='noop')
        self.assertEqual({CONF[1:]}, host.files())
        self.ran(host, 'clean')
        self.assertEqual(set(), host.files())

    def test_a_compute_host_reports_to_the_brokers_host(self):
        host = self.host(COMPUTE)
        self.ran(host, 'stack')
        self.assertEqual(STACKED, self.stacked(host))
        self.assertEqual(CONFIGURATION, host.options())

    def test_a_compute_host_without_a_broker_is_standalone(self):
        host = self.host(COMPUTE, RABBIT_HOST='')
        self.ran(host, 'stack')
        self.assertNotIn('transport_url', host.options()['DEFAULT'])
        self.assertIn('run_process nested-agent', self.told(host))

    def test_other_hypervisors_and_who_does_not_want_it_get_nothing(self):
        self.assert_untouched(self.host(COMPUTE, VIRT_DRIVER='fake'))
        self.assert_untouched(self.host(COMPUTE, DISABLED_SERVICES='nested-agent'))

    def test_the_services_of_nova_are_not_enabled_by_it(self):
        # DevStack takes any service whose name starts with n- for one of Nova's.
        host = self.host(COMPUTE)
        self.ran(host, 'stack')
        self.assertEqual([['nested-agent']], host.called('enable_service'))


class CollectorTest(PluginTestCase):
    """``enable_service nested-collector``."""

    def test_beside_the_agent(self):
        for options in OPTIONS:
            with self.subTest(options=options):
                host = self.host(ALL_IN_ONE)
                self.ran(host, 'stack', options=options)
                self.assertEqual(COLLECTED, self.stacked(host))
                self.assertEqual(CONFIGURATION, host.options())
                self.assertEqual(COLLECTOR, host.options(host.collector_conf))
                self.assertEqual(0o640, host.collector_conf.stat().st_mode & 0o777)

    def test_on_a_controller(self):
        host = self.host(f'{CONTROLLER},nested-collector')
        told = self.ran(host, 'stack')
        self.assertNotIn('remediate', told)
        self.assertNotIn('run_process nested-agent ', told)
        self.assertEqual(COLLECTOR, host.options(host.collector_conf))
        # What the commands need.
        self.assertEqual({'DEFAULT': CONFIGURATION['DEFAULT']}, host.options())
        service = host.service('devstack@nested-collector.service')
        self.assertEqual(_user(), service['User'])

    def test_the_database_of_another_host_is_not_made_anew(self):
        host = self.host('n-cpu,nested-collector')
        told = self.ran(host, 'stack')
        self.assertNotIn('recreate_database', told)
        self.assertIn('db sync', told)

    def test_it_is_off_by_default(self):
        host = self.host()
        told = self.ran(host, 'stack')
        for word in ('collector', 'database', 'node summary'):
            self.assertNotIn(word, told)
        self.assertFalse(host.collector_conf.exists())

    def test_it_is_stopped_and_cleaned(self):
        host = self.host(ALL_IN_ONE)
        self.ran(host, 'stack')
        told = self.ran(host, 'unstack')
        self.assertIn('stop_process nested-collector\n', told)
        self.assertEqual([], list((host.base / 'active').iterdir()))
        self.ran(host, 'clean')
        self.assertEqual(set(), host.files())

    def test_one_that_does_not_answer_fails_the_stack(self):
        host = self.host(ALL_IN_ONE)
        host.answer('node', '69 no collector answers')
        done = host.run('stack', NESTED_AGENT_TIMEOUT='1')
        self.assertEqual(1, done.returncode)
        ((told, journal),) = host.called('die')
        self.assertIn('nested-collector does not answer', told)
        self.assertIn('devstack@nested-collector', journal)

    def test_it_accepts_what_is_written(self):
        host = self.host(ALL_IN_ONE)
        self.ran(host, 'stack')
        self.assertEqual([], collector.COMMAND.check([f'--config-file={host.collector_conf}']))


class SimpleServiceTest(PluginTestCase):
    """The daemon as ``run_process`` starts it: nobody waits for it to say that it is ready."""

    def test_it_reports_reloads_and_ends(self):
        host = self.host(NESTED_AGENT_REMEDIATION='off', RABBIT_HOST='')
        host.nova_conf.write_text('[libvirt]\ncpu_mode = host-model\n')
        control = host.bin / 'nested-agentctl'
        control.unlink()
        for name in ('nested-agent', 'nested-agentctl'):
            (host.bin / name).symlink_to(COMMANDS / name)
        # It is started in between: the first stack finds no daemon.
        host.run('stack', NESTED_AGENT_TIMEOUT='1')
        command = shlex.split(re.search(r'^ExecStart = (.*)$', host.unit.read_text(), re.M)[1])
        log = host.base / 'log'
        with log.open('wb') as output:
            # systemd.exec(5): little more than PATH; of Type=simple neither NOTIFY_SOCKET nor
            # WATCHDOG_USEC.
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env={'PATH': PATH}, cwd='/'
            )
        self.addCleanup(process.wait, DEADLINE)
        self.addCleanup(process.kill)
        done = host.run('test-config')
        self.assertEqual(0, done.returncode, done.stderr + log.read_text())
        said = [words[0] for words in host.called('echo_summary')]
        self.assertRegex(said[0], '^nested-agent: this host is [a-z]+$')
        self.assertIn('VirtType', done.stdout)
        process.send_signal(signal.SIGHUP)  # ExecReload
        wait_for(lambda: 'configuration reloaded' in log.read_text(), 'reloaded')
        process.send_signal(signal.SIGTERM)
        self.assertEqual(0, process.wait(DEADLINE))
        self.assertNotIn('Traceback', log.read_text())
        done = host.run('test-config', NESTED_AGENT_TIMEOUT='1')
        self.assertEqual(1, done.returncode)


class TextsTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.settings = (REPOSITORY / 'devstack/settings').read_text()
        self.plugin = (REPOSITORY / 'devstack/plugin.sh').read_text()
        self.readme = (REPOSITORY / 'devstack/README.rst').read_text()
        self.sample = (REPOSITORY / 'devstack/local.conf.sample').read_text()
        self.defaults = dict(re.findall(r'^(NESTED_\w+)=\${\1:-(.*)}$', self.settings, re.M))

    def test_every_variable_has_a_default_a_help_and_a_place_in_the_readme(self):
        texts = self.plugin + self.readme + self.sample
        used = set(re.findall(r'\bNESTED_(?:AGENT|COLLECTOR)_[A-Z_]+', texts))
        self.assertEqual({*self.defaults, 'NESTED_AGENT_DIR'}, used)
        for name, default in self.defaults.items():
            self.assertIn(f'``{name}``', self.readme)
            if '$' not in default:
                self.assertIn(default, self.readme)

    def test_nothing_is_done_but_in_a_phase(self):
        # unstack.sh and clean.sh source it too, where much of DevStack is not there.
        body = re.sub(r'^function \w+ {\n.*?^}\n', '', self.plugin, flags=re.M | re.S)
        code = [line for line in body.splitlines() if line and not line.startswith('#')]
        self.assertEqual('case "$1 ${2:-}" in', code[0])
        self.assertEqual('esac', code[-1])

    def test_the_shell_is_left_as_it_is(self):
        for word in ('set -', 'set +', 'shopt', 'trap ', 'export ', 'cd /'):
            self.assertNotIn(f'\n{word}', self.plugin + self.settings)


def _user() -> str:
    return subprocess.run(['id', '-un'], capture_output=True, text=True, check=True).stdout.strip()
