"""Our own configuration: bad values are refused, and named; what is no option is told."""

import os
from pathlib import Path
from unittest import mock

from oslo_config import cfg
from oslotest import base

from nested_agent.cmd import agent
from nested_agent.conf import files, libraries, load, opts
from nested_agent.exceptions import ConfigurationError
from tests.unit.fakes import make_tree

# For every type of option that there is among ours.
BAD = (
    ('DEFAULT', 'host', 'a b'),
    ('agent', 'interval', 'soon'),
    ('agent', 'interval', '0'),
    ('agent', 'state_dir', 'not/absolute'),
    ('agent', 'run_dir', ''),
    ('policy', 'nested', 'maybe'),
    ('policy', 'cpu_mode', 'host'),
    ('policy', 'minimum_kernel', 'six'),
    ('nova', 'manage_config', 'perhaps'),
    ('remediation', 'mode', 'on'),
    ('remediation', 'splay', '2 minutes'),
    ('remediation', 'splay', '-1'),
    ('remediation', 'backoff', 'nan'),
    ('remediation', 'nova_timeout', '1e400'),
    ('prove', 'timeout', '3.5'),
    ('metrics', 'textfile_directory', 'not/absolute'),
)
# Of the libraries: only the daemon looks at them.
BAD_OF_OTHERS = (
    ('DEFAULT', 'debug', 'perhaps'),
    ('DEFAULT', 'log_rotation_type', 'monthly'),
    ('DEFAULT', 'default_log_levels', 'amqp=LOUD'),
    ('DEFAULT', 'rpc_response_timeout', 'soon'),
    ('oslo_messaging_rabbit', 'heartbeat_rate', 'often'),
)


class ConfigurationCase(base.BaseTestCase):
    def write(self, files):
        directory = make_tree(files)
        self.addCleanup(directory.cleanup)
        return Path(directory.name)

    def refusal(self, call, *arguments, **keywords):
        return str(self.assertRaises(ConfigurationError, call, *arguments, **keywords))


class PlacesTest(ConfigurationCase):
    def test_a_file_that_is_found_is_read_once(self):
        home = self.write(
            {
                '/.nested-agent/nested-agent.conf': '[nova]\nconfig_file = /a\n',
                '/.nested-agent/nested-agent.conf.d/1.conf': '[nova]\nconfig_dir = /b\n',
            }
        )
        conf = cfg.ConfigOpts()
        with mock.patch.dict(os.environ, {'HOME': str(home)}):
            read = load.load(conf)
        self.assertEqual((['/a'], ['/b']), (conf.nova.config_file, conf.nova.config_dir))
        self.assertEqual(['nested-agent.conf', '1.conf'], [Path(each.path).name for each in read])

    def test_what_may_not_be_read_is_no_default(self):
        home = self.write(
            {
                '/.nested-agent/nested-agent.conf': '[policy]\nnested = disabled\n',
                '/.nested-agent/nested-agent.conf.d/1.conf': '[remediation]\nmode = off\n',
                '/mine/a.conf': '',
            }
        )
        for each in (home, home.parent):
            each.chmod(0o755)
        own = home / '.nested-agent'
        mine = ([str(home / 'mine/a.conf')], [str(home / 'mine')])
        self.be_nobody()
        with mock.patch.dict(os.environ, {'HOME': str(home)}):
            for path in (own, own / 'nested-agent.conf', own / 'nested-agent.conf.d'):
                mode = path.stat().st_mode
                self.chmod(path, 0)
                said = self.refusal(load.load, cfg.ConfigOpts())
                self.assertIn(f'configuration: {path}: permission denied', said)
                load.load(cfg.ConfigOpts(), *mine)
                self.chmod(path, mode)
            load.load(cfg.ConfigOpts())
            self.chmod(home / 'mine', 0o711)
            said = self.refusal(load.load, cfg.ConfigOpts(), *mine)
            self.assertIn(f'configuration: {home}/mine: permission denied', said)

    def be_nobody(self):
        if os.geteuid() == 0:
            os.seteuid(65534)
            self.addCleanup(os.seteuid, 0)

    def chmod(self, path, mode):
        user = os.geteuid()
        os.seteuid(os.getuid())
        path.chmod(mode)
        os.seteuid(user)


class NamedTest(base.BaseTestCase):
    def test_in_either_way(self):
        words = ['--config-file', '/a', 'b', '--config-dir=/c']
        named = [('--config-file', '/a'), ('--config-dir', '/c')]
        self.assertEqual((named, ['b']), files.split(words))
        self.assertEqual(named, list(files.given(words)))


class RefusedTest(ConfigurationCase):
    def test_every_bad_value_is_named(self):
        for group, option, value in BAD:
            base_ = self.write({'/x.conf': f'[{group}]\n{option} = {value}\n'})
            said = self.refusal(load.load, cfg.ConfigOpts(), [f'{base_}/x.conf'])
            self.assertIn(f'{base_}/x.conf: [{group}] {option}: ', said)

    def test_and_those_of_the_libraries_by_the_daemon(self):
        for group, option, value in (*BAD, *BAD_OF_OTHERS):
            base_ = self.write({'/x.conf': f'[{group}]\n{option} = {value}\n'})
            said = self.refusal(agent.check, [f'--config-file={base_}/x.conf'])
            self.assertIn(f'{base_}/x.conf: [{group}] {option}: ', said)

    def test_every_type_of_option_is_among_them(self):
        types = {
            type(option)
            for _, options in opts.list_opts()
            for option in options
            if not isinstance(option, cfg.MultiStrOpt)  # any text will do
        }
        names = {(group, option) for group, option, _ in BAD}
        tried = {
            type(option)
            for group, options in load.ours()
            for option in options
            if (group, option.dest) in names
        }
        self.assertEqual(types, tried)

    def test_the_file_it_stands_in(self):
        bad, good = '[agent]\ninterval = soon\n', '[agent]\nstate_dir = /x\n'
        base_ = self.write({'/a.conf': bad, '/d/b.conf': good})
        said = self.refusal(load.load, cfg.ConfigOpts(), [f'{base_}/a.conf'], [f'{base_}/d'])
        self.assertIn(f'{base_}/a.conf: [agent] interval', said)
        base_ = self.write({'/a.conf': bad, '/d/b.conf': bad, '/d/c.conf': good})
        said = self.refusal(load.load, cfg.ConfigOpts(), [f'{base_}/a.conf'], [f'{base_}/d'])
        self.assertIn(f'{base_}/d/b.conf: [agent] interval', said)

    def test_the_environment(self):
        base_ = self.write({'/a.conf': '[remediation]\nmode = off\n'})
        with mock.patch.dict(os.environ, {'OS_REMEDIATION__MODE': 'on'}):
            said = self.refusal(load.load, cfg.ConfigOpts(), [f'{base_}/a.conf'])
        self.assertIn('environment variable OS_REMEDIATION__MODE: [remediation] mode', said)

    def test_a_file_that_is_none(self):
        for text, words in (
            ('password\n', ":1: No ':' or '=' found in assignment"),
            ('[agent\n', ':1: Invalid section (must end with ])'),
            ('interval = 5\n', ':1: Section must be started before assignment'),
        ):
            base_ = self.write({'/a.conf': text})
            path = f'{base_}/a.conf'
            said = self.refusal(load.load, cfg.ConfigOpts(), [path])
            self.assertEqual(f'configuration: {path}{words}', said)

    def test_a_secret_is_not_shown(self):
        option = cfg.IntOpt('token', secret=True)
        base_ = self.write({'/a.conf': '[agent]\ntoken = s3cret\n'})
        conf = cfg.ConfigOpts()
        said = self.refusal(load.load, conf, [f'{base_}/a.conf'], libraries=[('agent', [option])])
        self.assertIn('[agent] token', said)
        self.assertNotIn('s3cret', said)


class UnknownTest(ConfigurationCase):
    TEXT = """\
[DEFAULT]
transport_ulr = rabbit://u:s3cret@h/
[Policy]
nested = enabled
[polices]
nested = disabled
[remediation]
modus = enforce
s3cret x: y
[oslo_messaging_rabbit]
heartbeat_rate = 2
[oslo_messaging_rabit]
heartbeat_rate = 2
"""
    OURS = (
        'nobody reads group [polices]; policy may be meant',
        '[remediation] has no option modus; mode may be meant',
        '[remediation] has no option (a name with blanks or signs in it); it is passed over',
    )
    OTHERS = (
        '[DEFAULT] has no option transport_ulr; transport_url may be meant',
        'nobody reads group [oslo_messaging_rabit]; oslo_messaging_rabbit may be meant',
    )

    def test_by_a_command(self):
        path = self.write({'/a.conf': self.TEXT}) / 'a.conf'
        read = load.load(cfg.ConfigOpts(), [str(path)])
        found = set(load.unknown(read))
        self.assertEqual({f'{path}: {each}' for each in self.OURS}, found)

    def test_by_the_daemon(self):
        path = self.write({'/a.conf': self.TEXT}) / 'a.conf'
        found = set(agent.check([f'--config-file={path}']))
        self.assertEqual({f'{path}: {each}' for each in self.OURS + self.OTHERS}, found)

    def test_what_is_known_is_not_told(self):
        base_ = self.write(
            {
                '/a.conf': '[DEFAULT]\ndebug = true\ntransport_url = rabbit://h/\n[agent]\ninterval=9\n',
                '/d/b.conf': '[DEFAULT]\nhost = x\n[oslo_reports]\nlog_dir = /x\n',
                '/d/c.txt': '[nobody]\nx = y\n',
            }
        )
        words = ['--config-file', f'{base_}/a.conf', '--config-dir', f'{base_}/d']
        self.assertEqual([], agent.check(words))

    def test_a_name_of_a_former_release_is_known(self):
        option = cfg.IntOpt('new', deprecated_opts=[cfg.DeprecatedOpt('old-name', group='once')])
        path = self.write({'/a.conf': '[agent]\nnew = 1\n[once]\nold_name = 2\n'}) / 'a.conf'
        others = [('agent', [option])]
        read = load.load(cfg.ConfigOpts(), [str(path)], libraries=others)
        self.assertEqual([], list(load.unknown(read, others)))


class LibrariesTest(base.BaseTestCase):
    def test_oslo_messaging_only_where_it_is_wanted(self):
        groups = {group for group, _ in libraries.options(messaging=False)}
        self.assertEqual({'DEFAULT', 'oslo_reports'}, groups)
        groups = {group for group, _ in libraries.options(messaging=True)}
        self.assertIn('oslo_messaging_rabbit', groups)
