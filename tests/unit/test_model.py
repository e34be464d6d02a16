"""Reports to plain dicts and back."""

import contextlib
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oslotest import base

from nested_agent.exceptions import ReportFormatError
from nested_agent.facts import Kernel, Unread
from nested_agent.model import (
    Action,
    ActionKind,
    Condition,
    ConditionType,
    Disruption,
    Report,
    State,
    Status,
    to_plain,
)

TEXT = st.text(max_size=20)
TIME = st.none() | st.floats(0, 1e10)
CONDITIONS = st.builds(
    Condition,
    st.sampled_from(ConditionType),
    st.sampled_from(Status),
    TEXT,
    TEXT,
    st.none() | TEXT,
    TIME,
)
ACTIONS = st.builds(
    Action,
    st.sampled_from(ActionKind),
    TEXT,
    st.none() | TEXT,
    st.none() | TEXT,
    TEXT,
    st.sampled_from(Disruption),
)
REPORTS = st.builds(
    Report,
    host=TEXT,
    time=st.floats(0, 1e10),
    boot_id=st.none() | TEXT,
    driver=st.none() | TEXT,
    policy=st.dictionaries(TEXT, TEXT),
    state=st.sampled_from(State),
    conditions=st.lists(CONDITIONS, max_size=3).map(tuple),
    plan=st.lists(ACTIONS, max_size=3).map(tuple),
    observation=st.none() | st.dictionaries(TEXT, TEXT),
    schema_version=st.just('1.0'),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


#: How fast examples are made is no business of a test.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class ReportTest(base.BaseTestCase):
    def setUp(self):
        super().setUp()
        self.report = Report('node1', 1.0, None, 'amd', {}, State.COMPLIANT, (), (), {'kernel': {}})

    @PATIENT
    @given(REPORTS)
    def test_nothing_is_lost_on_the_way(self, report):
        wire = json.dumps(report.to_dict())
        self.assertEqual(report, Report.from_dict(json.loads(wire)))

    def test_the_version_comes_first(self):
        self.assertEqual('schema_version', next(iter(self.report.to_dict())))

    def test_a_later_minor_version_is_understood(self):
        wire = {**self.report.to_dict(), 'schema_version': '1.7', 'more': 1}
        self.assertEqual('1.7', Report.from_dict(wire).schema_version)

    def test_another_major_version_is_refused(self):
        wire = {**self.report.to_dict(), 'schema_version': '2.0'}
        error = self.assertRaises(ReportFormatError, Report.from_dict, wire)
        self.assertIn('2.0', str(error))

    def test_a_missing_key_is_named(self):
        wire = self.report.to_dict()
        del wire['state']
        error = self.assertRaises(ReportFormatError, Report.from_dict, wire)
        self.assertIn("'state'", str(error))

    @PATIENT
    @given(JSON)
    def test_garbage_is_refused_and_nothing_worse(self, data):
        self.assertRaises(ReportFormatError, Report.from_dict, data)

    @PATIENT
    @given(JSON, st.sampled_from(['conditions', 'plan', 'policy', 'time', 'state']))
    def test_garbage_in_a_key_is_refused_or_read(self, data, key):
        with contextlib.suppress(ReportFormatError):
            Report.from_dict({**self.report.to_dict(), key: data})


class PlainTest(base.BaseTestCase):
    def test_unread_is_told_apart_from_a_value(self):
        plain = to_plain((Unread('/x', 'EACCES', 'Permission denied'), None, 'x'))
        self.assertEqual(
            [
                {'unread': {'source': '/x', 'error': 'EACCES', 'detail': 'Permission denied'}},
                None,
                'x',
            ],
            plain,
        )

    def test_the_kernel_command_line_stays_on_the_node(self):
        plain = to_plain(Kernel('6.1', 'rd.luks.key=secret'))
        self.assertEqual('6.1', plain['release'])
        self.assertNotIn('secret', str(plain))
