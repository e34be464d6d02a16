"""The rules for Prometheus, by its own promtool: each alert fires when it should, and only then."""

import itertools
import re
from pathlib import Path
from typing import Any

import yaml
from oslotest import base

from nested_agent.model import State
from nested_agent.rpc import fleet
from tests.functional import expressions
from tests.functional.expressions import CHECKOUT, RULES
from tests.functional.prometheus import promtool

TESTS = sorted(Path(__file__).with_name('rules').glob('*.yml'))
RUNBOOK = CHECKOUT / 'doc' / 'source' / 'admin' / 'monitoring.rst'
#: What an operator puts the address of the published documentation in place of.
BASE = 'https://docs.example.org/nested-agent'
#: ``level:metric:operation``
RECORDED = re.compile(r'[a-z_]+:nested_(?:agent|collector)_[a-z_]+:[a-z]+')
SEVERITIES = {'critical', 'warning', 'info'}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())['groups']
    return [rule for group in groups for rule in group['rules']]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if 'alert' in rule]


class PromtoolTest(base.BaseTestCase):
    def test_the_rules_are_valid(self):
        self.assertIn(f'{len(rules())} rules found', promtool('check', 'rules', RULES))

    def test_each_alert_fires_when_it_should(self):
        said = promtool('test', 'rules', *TESTS)
        self.assertEqual(len(TESTS), said.count('SUCCESS'), said)


class RulesTest(base.BaseTestCase):
    """What promtool does not ask."""

    def test_each_alert_is_tested(self):
        fired, quiet = set(), set()
        for path in TESTS:
            for test in yaml.safe_load(path.read_text())['tests']:
                for case in test.get('alert_rule_test', ()):
                    name = case['alertname']
                    found = {each['exp_labels']['severity'] for each in case['exp_alerts']}
                    fired |= {(name, severity) for severity in found}
                    if not found:
                        quiet.add(name)
        wanted = {(each['alert'], each['labels']['severity']) for each in alerts()}
        self.assertEqual(wanted, fired)
        # Those that have to go on for a while, or to cross a line, have a moment before.
        self.assertEqual({each['alert'] for each in alerts() if 'for' in each} - quiet, set())

    def test_what_they_use_exists(self):
        metrics = expressions.documented() | expressions.OF_THE_TARGET
        recorded = {rule['record'] for rule in rules() if 'record' in rule}
        states = {*State, fleet.DOWN}
        for rule in rules():
            names = expressions.used(rule['expr'])
            self.assertNotEqual(set(), names)
            self.assertEqual(set(), names - metrics.keys() - recorded, rule)
            for metric, label, value in expressions.matchers(rule['expr']):
                if metric in metrics:
                    self.assertIn(label, metrics[metric], rule)
                if label == 'state':
                    self.assertIn(value, states, rule)

    def test_recorded_names(self):
        for rule in rules():
            if 'record' in rule:
                self.assertRegex(rule['record'], RECORDED)

    def test_labels_and_annotations(self):
        for alert in alerts():
            self.assertEqual({'severity'}, set(alert['labels']))
            self.assertIn(alert['labels']['severity'], SEVERITIES)
            self.assertEqual({'summary', 'description', 'runbook_url'}, set(alert['annotations']))
            self.assertTrue(alert['annotations']['summary'].endswith('.'), alert)

    def test_each_has_its_section_in_the_runbook(self):
        lines = RUNBOOK.read_text().splitlines()
        titles = {
            title for title, line in itertools.pairwise(lines) if line[:4] in ('====', '----')
        }
        names = {alert['alert'] for alert in alerts()}
        self.assertEqual(names, {title for title in titles if title.startswith('Nested')})
        for alert in alerts():
            # As docutils makes it of the title.
            wanted = f'{BASE}/admin/monitoring.html#{alert["alert"].lower()}'
            self.assertEqual(wanted, alert['annotations']['runbook_url'])
