"""``nested-agent-status upgrade check``: what each check finds, and that nothing is changed."""

import contextlib
import io
import json
import sqlite3
import sys
from pathlib import Path
from unittest import mock

import fixtures
from oslo_config import cfg
from oslo_upgradecheck.upgradecheck import Code
from oslotest import base

from nested_agent import exceptions, lock
from nested_agent.cmd import upgrade_broker, upgrade_check, upgrade_collector
from nested_agent.cmd.upgrade_check import Checks
from nested_agent.collector import database, schema
from nested_agent.conf import files, libraries, load
from nested_agent.drivers import loader
from nested_agent.model import Trigger
from nested_agent.proof import result
from nested_agent.remediation import runs
from nested_agent.remediation.history import History
from nested_agent.remediation.journal import Journal
from nested_agent.reporting import state_file
from nested_agent.rpc.client import Pong
from tests.unit import nodes
from tests.unit.fakes import FakeRoot, write_tree
from tests.unit.test_agent import report
from tests.unit.test_mending import run

BROKER = '[DEFAULT]\ntransport_url = fake://\n'


def content(directory):
    """Return what a directory holds, and when it was changed."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in sorted(directory.rglob('*'))
    }


class CheckCase(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.base = Path(self.useFixture(fixtures.TempDir()).path)
        self.state = self.base / 'state'
        self.config = self.base / 'nested-agent.conf'
        # No file of this host.
        self.useFixture(fixtures.EnvironmentVariable('HOME', str(self.base)))
        nothing: dict[str, list[str]] = {'default_config_files': [], 'default_config_dirs': []}
        self.useFixture(fixtures.MockPatchObject(load.Program, 'places', return_value=nothing))

    def checks(self, text=''):
        self.config.write_text(f'[agent]\nstate_dir = {self.state}\n{text}')
        return Checks([f'--config-file={self.config}'], conf=cfg.ConfigOpts())

    def found(self, check, text=''):
        """Return what a check finds, after that of the configuration."""
        checks = self.checks(text)
        checks.configuration()
        before = content(self.base)
        found = getattr(checks, check)()
        self.assertEqual(before, content(self.base))
        return found.code, found.details

    def assert_found(self, code, words, found):
        self.assertEqual(code, found[0], found)
        self.assertIn(words, found[1])


class ConfigurationTest(CheckCase):
    def check(self, text=''):
        found = self.checks(text).configuration()
        return found.code, found.details

    def test_good(self):
        self.assert_found(Code.SUCCESS, str(self.config), self.check())
        self.assert_found(Code.SUCCESS, str(self.config), self.check(BROKER))
        found = Checks(conf=cfg.ConfigOpts()).configuration()
        self.assertEqual('no file: every default', found.details)

    def test_what_is_no_option(self):
        found = self.check('[policy]\nnestde = enabled\n')
        self.assert_found(Code.WARNING, f'{self.config}: [policy] has no option nestde', found)

    def test_what_cannot_be_used(self):
        for text, words in (
            ('[policy]\nnested = perhaps\n', '[policy] nested: '),
            ('[DEFAULT]\ndebug = perhaps\n', '[DEFAULT] debug: '),
            ('[DEFAULT]\ntransport_url = rabbit://u:s3cret@h:x/\n', '[DEFAULT] transport_url: '),
            (
                f'{BROKER}[oslo_messaging_rabbit]\nheartbeat_rate = often\n',
                '[oslo_messaging_rabbit] heartbeat_rate: ',
            ),
            (
                '[oslo_messaging_notifications]\ndriver = messagingv2\n',
                '[oslo_messaging_notifications] driver: ',
            ),
        ):
            found = self.check(text)
            self.assert_found(Code.FAILURE, f'{self.config}: {words}', found)
            self.assertNotIn('s3cret', found[1])
        self.assert_found(Code.FAILURE, f'{self.config}:1: ', self.check_file(b'no option\n'))
        self.assert_found(Code.FAILURE, 'configuration: ', self.check_file(b'\xff\xfe'))

    def test_the_metrics_without_their_library(self):
        text = f'[metrics]\ntextfile_directory = {self.base}\n'
        self.assert_found(Code.SUCCESS, str(self.config), self.check(text))
        gone = {'nested_agent.reporting.textfile': None, 'prometheus_client': None}
        with mock.patch.dict(sys.modules, gone):
            found = self.check(text)
        said = f'{self.config}: [metrics] textfile_directory: '
        self.assert_found(Code.FAILURE, said, found)

    def check_file(self, data):
        checks = self.checks()
        self.config.write_bytes(data)
        found = checks.configuration()
        return found.code, found.details

    def test_then_nothing_that_rests_on_it_is_claimed(self):
        for check in ('deprecated_options', 'state_directory', 'message_broker'):
            found = self.found(check, '[policy]\nnested = perhaps\n')
            self.assert_found(Code.WARNING, 'not checked', found)


class DeprecatedTest(CheckCase):
    # This release has none of its own yet.
    OPTIONS = (
        (
            'agent',
            [
                cfg.IntOpt('pace', deprecated_name='tempo', deprecated_group='old-group'),
                cfg.IntOpt('speed', deprecated_opts=[cfg.DeprecatedOpt('haste-made')]),
                cfg.StrOpt(
                    'colour',
                    deprecated_for_removal=True,
                    deprecated_since='2.0',
                    deprecated_reason='Nobody\nsees it.',
                ),
                cfg.StrOpt('sound', deprecated_for_removal=True),
            ],
        ),
    )

    def deprecated(self, text):
        self.config.write_text(text)
        conf = cfg.ConfigOpts()
        read = load.load(conf, [str(self.config)], libraries=self.OPTIONS)
        return list(files.deprecated(read, self.OPTIONS))

    def test_what_is_deprecated_and_set_is_named(self):
        self.assertEqual([], self.deprecated('[agent]\npace = 1\nspeed = 2\n'))
        said = self.deprecated('[old-group]\ntempo = 1\n[agent]\nhaste_made = 2\ncolour = red\n')
        self.assertEqual(
            [
                f'{self.config}: [old-group] tempo is now [agent] pace',
                f'{self.config}: [agent] haste_made is now [agent] speed',
                f'{self.config}: [agent] colour is deprecated since 2.0: Nobody sees it.',
            ],
            said,
        )
        self.useFixture(fixtures.EnvironmentVariable('OS_AGENT__SOUND', 'loud'))
        (said,) = self.deprecated('')
        self.assertIn('environment variable OS_AGENT__SOUND: [agent] sound is deprecated', said)

    def test_by_the_command(self):
        self.assertEqual((Code.SUCCESS, 'none is set'), self.found('deprecated_options'))
        options = [*libraries.options(messaging=True), *self.OPTIONS]
        with mock.patch.object(libraries, 'options', return_value=options):
            found = self.found('deprecated_options', 'haste_made = 2\n')
        self.assert_found(Code.WARNING, '[agent] haste_made is now [agent] speed', found)

    def test_of_the_libraries_as_well(self):
        found = self.found('deprecated_options', '[DEFAULT]\nlogdir = /tmp\n')
        self.assert_found(Code.WARNING, '[DEFAULT] logdir is now [DEFAULT] log_dir', found)


class StateTest(CheckCase):
    def check(self):
        return self.found('state_directory')

    def have(self):
        self.state.mkdir(mode=0o755)
        state_file.write(self.state, state_file.Stored(report(), 60.0))
        History(self.state).add(run())

    def test_no_agent_ran_here(self):
        self.assert_found(Code.SUCCESS, 'no agent has run here yet', self.check())

    def test_all_is_as_it_should_be(self):
        self.have()
        self.assert_found(Code.SUCCESS, 'all records can be read', self.check())

    def test_others_can_write_there(self):
        self.have()
        self.state.chmod(0o777)
        self.assert_found(Code.WARNING, f'{self.state} has mode 0777', self.check())
        self.state.chmod(0o755)
        with mock.patch('os.geteuid', return_value=4711):
            found = self.check()
        if self.state.stat().st_uid:
            self.assert_found(Code.WARNING, 'belongs to user', found)

    def test_it_is_none(self):
        self.state.write_text('in the way')
        self.assert_found(Code.FAILURE, 'is not a directory', self.check())

    def test_records_without_which_nothing_is_fixed(self):
        for name in ('history.json', 'control.json', 'changes.json', 'journal.json'):
            for text in ('{', '[]', '{"version": 99}'):
                self.state.mkdir(exist_ok=True)
                (self.state / name).write_text(text)
                self.assert_found(Code.FAILURE, str(self.state / name), self.check())
                (self.state / name).unlink()

    def test_records_that_are_only_missed(self):
        self.have()
        for name in (state_file.NAME, result.NAME):
            (self.state / name).write_text('{"report": {"schema_version": "99.0"}}')
            self.assert_found(Code.WARNING, str(self.state / name), self.check())
            (self.state / name).unlink()

    def journal(self):
        self.have()
        journal = Journal(self.state)
        journal.begin(runs.header(Trigger.RPC, 'me', None, (), 1.0))
        return journal

    def test_an_interrupted_run(self):
        journal = self.journal()
        id_ = journal.record.header.id
        found = self.check()
        self.assert_found(Code.WARNING, f'run {id_} was interrupted: let the agent', found)
        with lock.held(self.state / lock.REMEDIATION, exclusive=True, timeout=0):
            self.assert_found(Code.WARNING, f'run {id_} is under way', self.check())
        journal.failed('the disk is full')
        self.assert_found(Code.WARNING, 'cannot be put right: the disk is full', self.check())


class DriversTest(CheckCase):
    def check(self, loaded=None, cpuinfo=None):
        tree = nodes.amd().tree()
        if cpuinfo is not None:
            tree['/proc/cpuinfo'] = cpuinfo
        write_tree(self.base / 'root', tree)
        checks = Checks(conf=cfg.ConfigOpts(), root=FakeRoot(self.base / 'root'))
        loaded = loaded or loader.load()
        with mock.patch.object(loader, 'load', return_value=loaded):
            found = checks.drivers()
        return found.code, found.details

    def test_the_one_for_this_processor(self):
        self.assert_found(Code.SUCCESS, 'amd is used', self.check())

    def test_one_of_others_that_cannot_be_loaded(self):
        problem = 'driver third cannot be loaded: ImportError: no third'
        loaded = loader.Loaded(loader.load().drivers, (problem,))
        self.assert_found(Code.WARNING, problem, self.check(loaded))

    def test_none_at_all(self):
        found = self.check(loader.Loaded((), ()))
        self.assert_found(Code.FAILURE, 'no driver is installed', found)

    def test_none_for_this_processor(self):
        other = nodes.amd().tree()['/proc/cpuinfo'].replace('AuthenticAMD', 'Nobody')
        self.assert_found(Code.WARNING, 'a processor of Nobody', self.check(cpuinfo=other))
        self.assert_found(Code.WARNING, '/proc/cpuinfo: ', self.check(cpuinfo='x : y\n'))


class BrokerTest(CheckCase):
    def check(self, answer):
        with mock.patch('nested_agent.rpc.client.Client') as client:
            ping = client.return_value.__enter__.return_value.ping
            ping.side_effect = [answer]
            found = self.found('message_broker', BROKER)
        self.assertEqual(upgrade_broker.DEADLINE, ping.call_args.args[1])
        self.asked = ping.call_args.args[0]
        return found

    def test_standalone(self):
        self.assert_found(Code.SUCCESS, 'standalone', self.found('message_broker'))

    def test_the_agent_answers(self):
        found = self.check(Pong('node1', '1.2.3', '1.1'))
        self.assert_found(Code.SUCCESS, 'the agent of node1 answers: release 1.2.3', found)
        self.state.mkdir()
        state_file.write(self.state, state_file.Stored(report(host='other'), 60.0))
        self.check(Pong('node1', '1.2.3', '1.1'))
        self.assertEqual('other', self.asked)

    def test_what_came_of_it_otherwise(self):
        for error, code in (
            (exceptions.NoSuchAgentError('no agent'), Code.SUCCESS),
            (exceptions.NoBrokerError('no broker'), Code.WARNING),
            (exceptions.NoAnswerError('no answer'), Code.WARNING),
            (exceptions.IncompatibleAgentError('another version'), Code.WARNING),
        ):
            self.assert_found(code, str(error), self.check(error))


class CollectorTest(CheckCase):
    def setUp(self):
        super().setUp()
        self.file = self.base / 'nested-collector.conf'
        self.sqlite = self.base / 'collector.sqlite'

    def connect(self):
        conf = cfg.ConfigOpts()
        database.register_opts(conf)
        conf([], default_config_files=[str(self.file)])
        return database.connect(conf)

    def check(self, connection=None, **arguments):
        self.file.write_text(
            f'{BROKER}[database]\nconnection = {connection or f"sqlite:///{self.sqlite}"}\n'
        )
        before = content(self.base)
        found = upgrade_collector.look([str(self.file)], **arguments)
        self.assertEqual(before, content(self.base))
        return found

    def test_no_collector_here(self):
        found = upgrade_collector.look()
        self.assert_found(Code.SUCCESS, 'no host of nested-collector', found)

    def test_no_database_yet(self):
        found = self.check()
        self.assert_found(Code.FAILURE, f'{self.file}: [database] connection: there is no', found)
        self.assertIn('nested-collector-manage db sync', found[1])

    def sync(self):
        self.check()
        engine = self.connect()
        database.sync(engine)
        return engine

    def test_current(self):
        engine = self.sync()
        engine.dispose()
        self.assert_found(Code.SUCCESS, f'the schema is current: {database.wanted()}', self.check())
        # And while a collector has it open, with what is not in the file yet.
        with engine.connect() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'future'")
            connection.commit()
            self.assertTrue(self.sqlite.with_name('collector.sqlite-wal').exists())
            found = upgrade_collector.look([str(self.file)])
        self.assert_found(Code.FAILURE, 'a later release', found)

    def test_an_older_one(self):
        self.check()
        with contextlib.closing(sqlite3.connect(self.sqlite)) as connection:
            connection.execute('CREATE TABLE other (id INTEGER)')
        self.assert_found(Code.FAILURE, 'has no tables yet', self.check())

    def test_it_cannot_be_reached(self):
        found = self.check('mysql+pymysql://u:s3cret@127.0.0.1:1/d')
        self.assert_found(Code.WARNING, '[database] connection: ', found)
        self.assertNotIn('s3cret', found[1])
        with mock.patch.object(schema, 'look', side_effect=lambda conf: lock.time.sleep(5)):
            found = self.check(deadline=0.01)
        self.assert_found(Code.WARNING, 'did not answer within 0.01 s', found)

    def test_its_configuration(self):
        self.assert_found(Code.FAILURE, '[database] connection: ', self.check('nonsense'))
        found = upgrade_collector.look(['/nonexistent.conf'])
        self.assert_found(Code.FAILURE, '/nonexistent.conf', found)

    def test_without_its_extra(self):
        with mock.patch.dict('sys.modules', {'nested_agent.collector': None}):
            found = self.check()
        self.assert_found(Code.WARNING, 'nested-agent[collector]', found)


class CommandTest(CheckCase):
    def run_command(self, *words):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = upgrade_check.main(words)
        return code, out.getvalue()

    def test_a_table_and_json(self):
        named = (f'--config-file={self.config}', 'upgrade', 'check')
        self.checks()
        code, said = self.run_command(*named)
        self.assertEqual(0, code)
        self.assertIn('| Check: Collector database', said)
        code, said = self.run_command(*named, '--json')
        names = [name for name, _ in Checks._upgrade_checks]
        self.assertEqual(names, [each['check'] for each in json.loads(said)['checks']])
        for text, worst in (('nestde = x\n', 1), ('[policy]\nnested = perhaps\n', 2)):
            self.checks(text)
            self.assertEqual(worst, self.run_command(*named)[0])

    def test_what_cannot_be_checked(self):
        for words in ((), ('bogus',), ('upgrade',), ('--bogus', 'upgrade', 'check')):
            self.assertEqual(255, self.run_command(*words)[0], words)
        with mock.patch.object(upgrade_check.loader, 'load', side_effect=ZeroDivisionError):
            code, said = self.run_command('upgrade', 'check')
        self.assertEqual(255, code)
        self.assertIn('ZeroDivisionError', said)

    def test_help(self):
        code, said = self.run_command('--help')
        self.assertEqual(0, code)
        for word in ('--config-file', '--collector-config-file', 'Exit codes: 0 '):
            self.assertIn(word, said)
