"""The name a node is reported under, and asked by."""

from pathlib import Path
from unittest import mock

import fixtures
from oslo_config import cfg
from oslotest import base

from nested_agent import service
from nested_agent.conf import load
from nested_agent.drivers import loader
from nested_agent.facts import Unread
from nested_agent.node import kernel, nova, nova_config
from nested_agent.node.observe import Last, Sources, observe
from tests.unit.nodes import amd, nova_process

DEADLINE = 60
NAME = 'compute-7.example.org'
CONF = '/etc/nova/nova.conf'
NAMED = f'[DEFAULT]\nhost = {NAME}\n[libvirt]\ncpu_mode = host-passthrough\n'
REFERRED = NAMED.replace(NAME, '$my_ip')
INSTALLED = (CONF, '/etc/nova/nova-compute.conf')


class NodeCase(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        nova_config._Memory.last = None
        self.useFixture(fixtures.MockPatch('socket.gethostname', return_value='other'))
        self.tree = self.root()

    def root(self, running=True, **files):
        process = nova_process() if running else {}
        return amd(files={**process, CONF: NAMED, **files}).root(self)

    def write(self, text):
        """Replace nova.conf, as an editor does; None takes it away."""
        file = self.tree.path(CONF)
        file.unlink(missing_ok=True)
        if text is not None:
            file.write_text(text)


class ObservedTest(NodeCase):
    def host(self, last=None, tree=None, boot=None, **sources):
        tree = tree or self.tree
        known = last and Last(last, boot or kernel.boot_id(tree))
        observed, _ = observe(tree, loader.load(), Sources(**sources), known)
        return observed.host

    def test_it_is_nova_s(self):
        self.assertEqual(NAME, self.host())
        self.assertEqual(NAME, self.host('last'))

    def test_it_stays_while_nova_s_cannot_be_told(self):
        for text in (f'{NAMED}oops\n', REFERRED, NAMED.replace(NAME, 'a b'), None):
            self.write(text)
            self.assertEqual('last', self.host('last'), text)
            self.assertEqual('other', self.host(), text)

    def test_it_stays_while_a_file_cannot_be_read(self):
        for error in (PermissionError(13, 'Permission denied'), OSError(5, 'Input/output error')):
            with mock.patch.object(nova_config, 'content_of', side_effect=error):
                self.assertEqual('last', self.host('last'))

    def test_it_stays_where_all_files_of_a_running_one_are_gone(self):
        self.tree.path('/proc/700/cmdline').write_text('/usr/bin/nova-compute\0')
        for path in INSTALLED:
            self.tree.path(path).unlink()
        self.assertEqual('last', self.host('last'))

    def test_it_stays_where_a_nova_compute_may_be_hidden(self):
        with mock.patch.object(nova, 'read', return_value=Unread('/proc', 'EACCES', 'hidden')):
            self.assertEqual('last', self.host('last'))

    def test_it_is_the_host_name_where_nova_has_none(self):
        self.write('')
        self.assertEqual('other', self.host('last'))
        stopped = self.root(running=False, **{CONF: ''})
        self.assertEqual('other', self.host('last', stopped))

    def test_it_is_the_host_name_where_there_is_no_nova(self):
        gone = self.root(running=False, **dict.fromkeys(INSTALLED))
        self.assertEqual('other', self.host(tree=gone))
        self.assertEqual('other', self.host('last', gone, boot='another'))

    def test_it_stays_where_a_nova_that_was_there_is_not_found_any_more(self):
        gone = self.root(running=False, **dict.fromkeys(INSTALLED))
        self.assertEqual('last', self.host('last', gone))

    def test_our_own_option_comes_first(self):
        for text in (NAMED, REFERRED, ''):
            self.write(text)
            self.assertEqual('ours', self.host('last', host='ours'))


class Recorder:
    """Takes the place of the RPC server: remembers what it is told."""

    def __init__(self, host):
        self.hosts = [host]

    def start(self):
        pass

    def answer_as(self, host):
        if host != self.hosts[-1]:
            self.hosts.append(host)

    def stop(self, timeout):
        pass


class ServiceTest(NodeCase):
    def setUp(self):
        super().setUp()
        self.base = Path(self.useFixture(fixtures.TempDir()).path)
        self.servers = []

    def start(self, more=''):
        path = self.base / 'nested-agent.conf'
        path.write_text(f'{more}[agent]\nstate_dir = {self.base}\n')
        conf = cfg.ConfigOpts()
        load.load(conf, [str(path)])
        running = service.AgentService(conf, self.make_server, self.tree)
        running.start()
        self.addCleanup(running.stop)
        return running

    def make_server(self, host, asked):
        self.servers.append(Recorder(host))
        return self.servers[-1]

    def host(self, running):
        return running.agent.verify_now(DEADLINE).host

    def test_it_survives_a_restart(self):
        first = self.start()
        self.assertEqual(NAME, self.host(first))
        first.stop()
        self.write(f'{NAMED}oops\n')
        self.assertEqual(NAME, self.host(self.start()))
        self.assertEqual([[NAME], [NAME]], [each.hosts for each in self.servers])

    def test_the_server_follows(self):
        self.write(None)
        running = self.start()
        self.assertEqual('other', self.host(running))
        for text, host in ((NAMED, NAME), (REFERRED, NAME), ('[DEFAULT]\nhost = new\n', 'new')):
            self.write(text)
            self.assertEqual(host, self.host(running))
        self.assertEqual([['other', NAME, 'new']], [each.hosts for each in self.servers])

    def test_a_defect_is_told_under_the_name_that_is_known(self):
        with mock.patch.object(service, 'first', side_effect=RuntimeError('a defect')):
            self.host(self.start('[DEFAULT]\nhost = ours\n'))
        self.assertEqual([['ours']], [each.hosts for each in self.servers])
