"""The dashboard for Grafana: every panel shows something of real metrics, without an error."""

import itertools
import json
import math
import re
import time
from typing import Any

import yaml
from oslotest import base

from nested_agent.agent import Effort
from nested_agent.model import State
from nested_agent.reporting.textfile import Textfile
from tests.functional import expressions
from tests.functional.broker import free_port, wait_for
from tests.functional.collector import Collector
from tests.functional.expressions import CHECKOUT, RULES
from tests.functional.monitored import DRIFTED, NOVA_CONF, MonitoredNode
from tests.functional.prometheus import NodeExporter, Prometheus
from tests.functional.test_collector import CollectorCase
from tests.unit.test_agent import report
from tests.unit.test_collector_digest import plain

DASHBOARD = CHECKOUT / 'etc' / 'grafana' / 'nested-agent.json'
#: As Grafana puts them in, with all nodes chosen.
VARIABLES = {'$instance': '.*', '$__rate_interval': '5m'}
DATASOURCE = {'type': 'prometheus', 'uid': '${datasource}'}
WIDTH = 24
#: Of a node whose module has nesting off, but not after the next load.
WAITING = {'/etc/modprobe.d/zz-nested-agent.conf': 'options kvm_amd nested=1\n'}


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text())


def panels() -> list[dict[str, Any]]:
    return [each for each in dashboard()['panels'] if each['type'] != 'row']


def filled(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


class DashboardTest(base.BaseTestCase):
    def test_it_uses_our_metrics_alone(self):
        rules = yaml.safe_load(RULES.read_text())['groups']
        recorded = {rule.get('record') for group in rules for rule in group['rules']}
        metrics = expressions.documented()
        for panel in panels():
            self.assertNotEqual([], panel['targets'])
            for target in panel['targets']:
                names = expressions.used(target['expr'])
                self.assertNotEqual(set(), names)
                self.assertEqual(set(), names - metrics.keys() - recorded, panel['title'])
                for metric, label, _ in expressions.matchers(target['expr']):
                    if metric in metrics:
                        self.assertIn(label, metrics[metric] | {'instance'}, panel['title'])

    def test_every_source_can_be_chosen(self):
        variables = {each['name']: each for each in dashboard()['templating']['list']}
        self.assertEqual({'datasource', 'instance'}, set(variables))
        self.assertEqual(DATASOURCE, variables['instance']['datasource'])
        for panel in panels():
            self.assertEqual(DATASOURCE, panel['datasource'])
            for target in panel['targets']:
                self.assertEqual(DATASOURCE, target['datasource'])
                used = set(re.findall(r'\$\w+', target['expr']))
                self.assertLessEqual(used, set(VARIABLES))
                # What is not of the fleet is of the nodes that are chosen.
                if re.search(r'(?<!:)nested_agent_|instance', target['expr']):
                    self.assertIn('$instance', used, panel['title'])

    def test_nothing_lies_on_something_else(self):
        everything = dashboard()['panels']
        numbers = [panel['id'] for panel in everything]
        self.assertEqual(len(set(numbers)), len(numbers))
        titles = [panel['title'] for panel in everything]
        self.assertEqual(len(set(titles)), len(titles))
        for panel in everything:
            place = panel['gridPos']
            self.assertLessEqual(place['x'] + place['w'], WIDTH)
        for one, other in itertools.combinations((each['gridPos'] for each in everything), 2):
            beside = one['x'] + one['w'] <= other['x'] or other['x'] + other['w'] <= one['x']
            above = one['y'] + one['h'] <= other['y'] or other['y'] + other['h'] <= one['y']
            self.assertTrue(beside or above, (one, other))


class ShownTest(CollectorCase):
    """Nodes that differ in each way that has a panel, and two collectors of one database."""

    def setUp(self):
        super().setUp()
        self.nodes = [
            self.useFixture(MonitoredNode('compute-1')),
            self.useFixture(MonitoredNode('compute-2', {NOVA_CONF: DRIFTED})),
            self.useFixture(MonitoredNode('compute-3', WAITING, options='nested=0')),
        ]
        self.nodes[-1].node.hold()
        targets = {node.exporter.address: node.name for node in self.nodes}
        targets[self.silent().address] = 'compute-4'
        ports = [free_port(), free_port()]
        self.first = self.collector(metrics_port=ports[0])
        self.useFixture(
            Collector(self.broker.url, self.first.database, metrics_port=ports[1])
        ).start()
        jobs = {'node': list(targets), 'collector': [f'127.0.0.1:{port}' for port in ports]}
        self.prometheus = self.useFixture(Prometheus(jobs, [RULES], targets))

    def silent(self):
        """Return the exporter of a node whose agent was killed hours ago."""
        exporter = self.useFixture(NodeExporter())
        channel = Textfile(exporter.directory, '1.0', lambda: 60.0, Effort(), list)
        channel(report(time=time.time() - 7200, state=State.DRIFTED, state_since=1e9), None)
        return exporter

    def tell(self, sequence):
        """Have two nodes report to the collectors."""
        nodes = [plain(host=f'compute-{each}', sequence=sequence) for each in (1, 2)]
        self.cast(self.first, *nodes)
        self.rows(self.first, **{'compute-1': sequence, 'compute-2': sequence})

    def shown(self, expression):
        """Return what an expression comes to once all of it is a number."""

        def found():
            series = self.prometheus.query(expression)
            return series and not any(math.isnan(value) for _, value in series) and series

        return wait_for(lambda: f'{expression}: {self.prometheus.query(expression)}', found)

    def test_every_panel_shows_something(self):
        self.tell(1)
        wait_for('scrapes', lambda: all(map(self.prometheus.healthy, ('node', 'collector'))))
        # What is a rate takes something that happens while it is looked at.
        self.prometheus.wait_for('count(nested_collector_reports_total{result="accepted"}) == 2')
        self.tell(2)
        self.prometheus.wait_for('nested_agent_state{state="pending"} == 1')
        for panel in panels():
            for target in panel['targets']:
                self.shown(filled(target['expr']))
        (table,) = (panel for panel in panels() if panel['title'] == 'Not compliant')
        wanted = {'compute-2': 'drifted', 'compute-3': 'pending', 'compute-4': 'silent'}

        def states():
            series = self.prometheus.query(filled(table['targets'][0]['expr']))
            return {labels['instance']: labels['state'] for labels, _ in series}

        wait_for(states, lambda: states() == wanted)
        self.rules_work()

    def rules_work(self):
        """Assert that what real metrics look like is nothing that a rule stumbles over."""

        def health():
            groups = self.prometheus.ask('rules')['groups']
            return {
                (rule['name'], rule['health'], rule.get('lastError'))
                for group in groups
                for rule in group['rules']
                if rule['health'] != 'ok'
            }

        wait_for(health, lambda: not health())
        # Both collectors tell of the same two nodes.
        nodes = 'sum(job_state:nested_collector_nodes:max)'
        wait_for(nodes, lambda: self.prometheus.value(nodes) == 2)
        # Only what waits for nothing could fire yet, and nothing of that is so.
        self.assertEqual({}, self.prometheus.alerts())
