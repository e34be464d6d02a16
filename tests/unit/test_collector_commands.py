"""What the commands about the fleet show, whatever the collector answers."""

import argparse
import io
from unittest import mock

from oslotest import base

# isort: split
from nested_agent.cmd import agentctl, node_list, node_show, node_summary, tables
from nested_agent.exceptions import IncompatibleAgentError, NoAnswerError
from nested_agent.rpc import fleet_client

NODE = {
    'host': 'node1', 'state': 'down', 'reported': 'drifted', 'reasons': ['Disabled', 'QEMU'],
    'vendor': 'amd', 'kernel': '6.1.0', 'release': '0.1.0', 'since': 5.0, 'seen': 5.0, 'age': 600.0,
    'booted': 1.0, 'schema_version': '1.1',
}  # fmt: skip
FORMAT = {'max_width': 0, 'fit_width': False, 'print_empty': False, 'columns': []}


def table(names, rows, width=0):
    out = io.StringIO()
    arguments = argparse.Namespace(**{**FORMAT, 'max_width': width})
    tables.Table().emit_list(names, rows, out, arguments)
    return out.getvalue()


class TableTest(base.BaseTestCase):
    def test_many_rows_look_like_few(self):
        rows = [node_list._long({**NODE, 'host': 'x' * each + '\x1b'}) for each in range(30)]
        for width in (0, 300):
            few = table(node_list.LONG, rows, width)
            with mock.patch.object(tables, 'MANY', 10):
                self.assertEqual(few, table(node_list.LONG, rows, width))
        self.assertNotIn('\x1b', few)

    def test_a_row_may_lack_anything(self):
        self.assertIn('| -', table(node_list.LONG, [node_list._long({'reasons': 7})]))


class HalfAnAnswerTest(base.BaseTestCase):
    def test_of_an_answer_that_ends_midway_nothing_is_shown(self):
        def nodes(*_):
            yield NODE
            raise NoAnswerError('late')

        client = mock.MagicMock()
        client.__enter__.return_value.nodes = nodes
        for formatter in ('table', 'csv', 'json', 'yaml', 'value'):
            application = agentctl.AgentCtl()
            application.stdout = io.StringIO()
            command = node_list.NodeList(application, None)
            arguments = command.get_parser('x').parse_args(['-f', formatter])
            with mock.patch.object(node_list.NodeList, 'collector', return_value=client):
                self.assertRaises(NoAnswerError, command.run, arguments)
            self.assertEqual('', application.stdout.getvalue(), formatter)
            client.__exit__.assert_called()
            client.reset_mock()


class SummaryTest(base.BaseTestCase):
    def test_states_have_their_order_and_the_rest_is_by_number(self):
        counts = {'down': 9, 'drifted': 1, 'novel': 5, 'compliant': 3}
        self.assertEqual(
            ['compliant', 'drifted', 'down', 'novel'], node_summary._ordered('states', counts)
        )
        self.assertEqual(
            ['down', 'novel', 'compliant', 'drifted'], node_summary._ordered('reasons', counts)
        )


class ShowTest(base.BaseTestCase):
    def shown(self, report):
        client = mock.MagicMock()
        client.__enter__.return_value.node.return_value = {**NODE, 'report': report}
        command = node_show.NodeShow(mock.Mock(), argparse.Namespace())
        with mock.patch.object(node_show.NodeShow, 'collector', return_value=client):
            names, values = command.take_action(argparse.Namespace(timeout=1.0, host='node1'))
        out = io.StringIO()
        node_show.NodeTable().emit_one(names, values, out, argparse.Namespace(**FORMAT))
        return out.getvalue()

    def test_whatever_the_report_is(self):
        conditions = [{'type': 'New\x1b[2J', 'status': ['x'], 'reason': None}, 7]
        reports: tuple[object, ...] = (
            None, [], {}, {'conditions': 7, 'plan': {}, 'policy': [1]},
            {'conditions': conditions, 'plan': [{'kind': {}}, None], 'time': '\x1b[2J'},
        )  # fmt: skip
        for report in reports:
            out = self.shown(report)
            self.assertTrue(out.startswith('node1: DOWN since 1970-01-01 00:00:05Z; it last was'))
            self.assertIn('(600 s ago)', out)
            self.assertNotIn('\x1b', out)


class PagesTest(base.BaseTestCase):
    def client(self, ask):
        client = fleet_client.FleetClient.__new__(fleet_client.FleetClient)
        client._begin = lambda *args, **more: lambda: ask(*args, **more)
        return client

    def test_all_pages_as_one(self):
        hosts = [f'node{each:04}' for each in range(fleet_client.PAGE + 10)]
        sizes = []

        def ask(method, deadline, *, filters, marker, limit):
            sizes.append(limit)
            rest = [host for host in hosts if marker is None or host > marker]
            page = rest[:limit]
            return {
                'columns': ['host'],
                'rows': [[host] for host in page],
                'marker': page[-1] if len(rest) > limit else None,
            }

        for limit in (None, 1, fleet_client.PAGE, fleet_client.PAGE + 5, 10 * fleet_client.PAGE):
            found = [row['host'] for row in self.client(ask).nodes(60.0, {}, limit)]
            self.assertEqual(hosts[:limit], found)
        self.assertLessEqual(max(sizes), fleet_client.PAGE)

    def test_the_next_page_is_asked_for_before_this_one_is_worked_on(self):
        asked = []

        def begin(method, deadline, *, marker, **_):
            asked.append(marker)
            rest = {None: 'b', 'b': 'c', 'c': None}
            return lambda: {'columns': ['host'], 'rows': [[marker or 'a']], 'marker': rest[marker]}

        client = self.client(None)
        client._begin = begin
        seen = [(row['host'], len(asked)) for row in client.nodes(60.0, {})]
        self.assertEqual([('a', 2), ('b', 3), ('c', 3)], seen)

    def test_an_answer_that_is_no_table(self):
        answers: tuple[object, ...] = (
            None, {}, {'columns': ['host'], 'rows': [['a', 'b']], 'marker': None},
            {'columns': [['host']], 'rows': [['a']], 'marker': None},
        )  # fmt: skip
        for answer in answers:
            client = self.client(lambda *_, answer=answer, **__: answer)
            self.assertRaises(IncompatibleAgentError, list, client.nodes(60.0, {}))

    def test_pages_without_end(self):
        """Whoever answers, the deadline holds."""
        client = self.client(lambda *_, **__: {'columns': [], 'rows': [], 'marker': 'a'})
        self.assertRaises(NoAnswerError, list, client.nodes(0.1, {}))
