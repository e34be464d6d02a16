"""From a node that drifts to an alert that fires, and back, by the real programs."""

import re
from pathlib import Path

import fixtures
from oslotest import base

from nested_agent.model import Result
from tests.functional.broker import wait_for
from tests.functional.expressions import RULES
from tests.functional.monitored import DRIFTED, NOVA_CONF, MonitoredNode
from tests.functional.prometheus import Prometheus, promtool

#: What makes the rules wait, and what it is here. Seconds, so that a test need not take hours;
#: with the real ones promtool lets the time go by (test_rules.py).
SHORTENED = (
    (re.compile(r'^( +for:) \d+[mhd]$', re.MULTILINE), r'\1 2s'),
    # How old a report is taken for true, besides three intervals.
    (re.compile(r'\b900\b'), '10'),
    (re.compile(r'\[1d:10m\]'), '[10m:1s]'),
)


def shortened(directory: Path) -> Path:
    """Return a copy of the rules that waits for seconds."""
    text = RULES.read_text()
    for pattern, replacement in SHORTENED:
        text, count = pattern.subn(replacement, text)
        assert count, f'{pattern.pattern}: the rules have it no more'
    path = directory / RULES.name
    path.write_text(text)
    promtool('check', 'rules', path)
    return path


class DriftTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        rules = shortened(Path(self.useFixture(fixtures.TempDir()).path))
        self.drifting = self.useFixture(MonitoredNode('compute-1'))
        self.other = self.useFixture(MonitoredNode('compute-2', intel=True))
        nodes = (self.drifting, self.other)
        self.prometheus = self.useFixture(
            Prometheus(
                {'node': [node.exporter.address for node in nodes]},
                [rules],
                {node.exporter.address: node.name for node in nodes},
            )
        )

    def firing(self):
        """Return the alerts about single nodes, as pairs of name and instance."""
        return {
            (name, labels['instance'])
            for name, found in self.prometheus.alerts().items()
            for labels in found
            if 'instance' in labels
        }

    def until(self, *wanted):
        """Wait until these alerts about the node that drifts fire, and no other."""
        pairs = {(name, 'compute-1') for name in wanted}
        wait_for(lambda: f'{pairs}, not {self.firing()}', lambda: self.firing() == pairs)

    def states(self):
        return {
            labels['instance']: labels['state']
            for labels, _ in self.prometheus.query('nested_agent_state == 1')
        }

    def share(self, wanted):
        """Wait until so much of the fleet is compliant."""
        expression = 'job:nested_agent_compliant:ratio'
        wait_for(expression, lambda: self.prometheus.value(expression) == wanted)

    def test_from_drift_to_an_alert_and_back(self):
        both = dict.fromkeys(('compute-1', 'compute-2'), 'compliant')
        wait_for(self.states, lambda: self.states() == both)
        self.share(1.0)
        self.assertEqual({}, self.prometheus.alerts())

        self.drifting.write({NOVA_CONF: DRIFTED})
        self.until('NestedAgentDrifted')
        (alert,) = (
            each
            for each in self.prometheus.ask('alerts')['alerts']
            if each['labels']['alertname'] == 'NestedAgentDrifted'
        )
        self.assertIn('GuestCPU/', alert['annotations']['description'])
        self.assertIn('compute-1', alert['annotations']['summary'])
        self.share(0.5)

        run = self.drifting.remediate()
        self.assertEqual(Result.APPLIED, run.result, run.message)
        wait_for(self.states, lambda: self.states() == both)
        wait_for(self.prometheus.alerts, lambda: not self.prometheus.alerts())
        applied = 'nested_agent_remediation_runs_total{trigger="rpc", result="applied"} == 1'
        self.assertEqual(
            ['compute-1'], [each['instance'] for each, _ in self.prometheus.query(applied)]
        )

    def test_an_agent_that_is_gone(self):
        self.drifting.write({NOVA_CONF: DRIFTED})
        self.until('NestedAgentDrifted')
        # It takes back what it said, and then no longer says anything.
        self.drifting.stop()
        self.until('NestedAgentSilent')
        self.drifting.file.unlink()
        self.until('NestedAgentMetricsAbsent')
        # The node itself is no affair of these alerts.
        self.drifting.exporter.stop()
        self.until()
        self.drifting.exporter.start()
        self.drifting.start()
        self.until('NestedAgentDrifted')
