"""Which reports are kept, and what of them."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oslotest import base

from nested_agent.collector.digest import DEPTH, LIMIT, digest
from nested_agent.exceptions import ReportFormatError
from nested_agent.model import (
    Condition,
    ConditionType,
    Remediation,
    Report,
    Result,
    Run,
    State,
    Status,
    Trigger,
)
from nested_agent.reporting.brief import brief

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
RUN = Run(
    'run1', Trigger.RPC, 'me', 1.0, 2.0, 'boot', Result.APPLIED, 'Done\x1b[2J.', (), {}, {},
    State.DRIFTED, State.COMPLIANT,
)  # fmt: skip


def plain(**changes):
    return {**brief(report()), **changes}


def report():
    conditions = (
        Condition(ConditionType.CPU_SUPPORTED, Status.TRUE, 'Supported', 'It is.', 'x', 1.0),
        Condition(ConditionType.GUEST_CPU, Status.UNKNOWN, 'NotInstalled', 'No Nova.', None, 1.0),
        Condition(ConditionType.NESTED_RUNTIME, Status.FALSE, 'Disabled', 'Off.', 'x', 1.0),
    )
    observation = {
        'kernel': {'release': '6.1.0', 'cmdline': 'secret=1'},
        'cpu': {'vendor': 'AuthenticAMD', 'model': 'EPYC', 'flags': ['svm']},
        'nova': {'settings': {'libvirt.password': 's3cret'}},
    }
    return Report(
        'node1', 5.0, 'boot1', 'amd', {'nested': 'enabled'}, State.DRIFTED, conditions, (),
        observation, 7, remediation=Remediation('enforce', last_run=RUN),
    )  # fmt: skip


class BriefTest(base.BaseTestCase):
    def test_it_is_still_a_report(self):
        found = Report.from_dict(plain())
        self.assertEqual(report().state, found.state)
        self.assertEqual(
            [(each.type, each.status, each.reason, each.since) for each in report().conditions],
            [(each.type, each.status, each.reason, each.since) for each in found.conditions],
        )

    def test_what_is_left_out(self):
        text = str(plain())
        for word in ('secret', 'svm', 'It is.'):
            self.assertNotIn(word, text)
        for word in ('6.1.0', 'AuthenticAMD', 'Off.', 'No Nova.'):
            self.assertIn(word, text)

    def test_facts_that_could_not_be_read(self):
        observed = {'kernel': {'release': {'unread': {}}}, 'cpu': {'unread': {'source': 'x'}}}
        found = brief(Report.from_dict({**report().to_dict(), 'observation': observed}))
        self.assertEqual({'vendor': None, 'model': None}, found['observation']['cpu'])
        self.assertIsNone(brief(Report.from_dict(plain(observation=None)))['observation'])
        self.assertIsNone(digest(found, None, 1.0).kernel)


class DigestTest(base.BaseTestCase):
    def test_what_is_read(self):
        found = digest(plain(), '1.2.3', 9.0)
        self.assertEqual(
            ('node1', 'boot1', 7, 'drifted', 'amd', '6.1.0', '1.2.3', 9.0),
            (found.host, found.boot_id, found.sequence, found.state, found.vendor, found.kernel,
             found.release, found.received),
        )  # fmt: skip
        # False before Unknown.
        self.assertEqual(('Disabled', 'NotInstalled'), found.reasons)
        self.assertEqual(('run1', 'applied'), (found.run.id, found.run.result))
        self.assertEqual('Done\ufffd[2J.', found.run.message)

    def test_a_newer_agent(self):
        conditions = [{'type': 'New', 'status': 'False', 'reason': 'Novel', 'extra': [1]}]
        found = digest(
            plain(schema_version='1.9', state='quiescent', conditions=conditions, more=1), '2', 1.0
        )
        self.assertEqual(('quiescent', ('Novel',)), (found.state, found.reasons))
        self.assertIn('"more":1', found.text)

    def test_an_older_agent(self):
        older = plain(schema_version='1.0')
        del older['remediation'], older['nova_running']
        found = digest(older, None, 1.0)
        self.assertIsNone(found.run)
        self.assertIsNone(found.release)

    def test_another_major_version(self):
        other = {'schema_version': '2.0', 'host': 'node1', 'boot_id': None, 'sequence': 3}
        found = digest(other, '9', 1.0)
        self.assertEqual(('unknown', ('UnknownVersion',)), (found.state, found.reasons))
        self.assertEqual('', found.boot_id)

    def test_what_is_refused(self):
        deep: list[object] = []
        for _ in range(100000):
            deep = [deep]
        changes: dict[str, object]
        for changes in (
            {'host': None}, {'host': ''}, {'host': 'a b'}, {'host': 'x' * 201}, {'host': 'n\u00f6'},
            {'host': '\ud800'}, {'host': ['node1']}, {'host': 'a\x1b[2J'}, {'host': 'a\n'},
            {'boot_id': 7}, {'boot_id': 'x' * 65}, {'boot_id': ''},
            {'sequence': None}, {'sequence': '7'}, {'sequence': True}, {'sequence': -1},
            {'sequence': 1 << 70}, {'sequence': 1.5},
            {'schema_version': None}, {'schema_version': 'latest'}, {'schema_version': '1' * 99},
            {'state': 'down'}, {'state': 'Compliant'}, {'state': None}, {'state': 'x' * 99},
            {'conditions': None}, {'conditions': {}}, {'conditions': [1]},
            {'conditions': [{}]}, {'conditions': 100 * [{'type': 'A', 'reason': 'B'}]},
            {'conditions': [{'type': 'A', 'reason': 'B C', 'status': 'False'}]},
            {'remediation': {'last_run': 'run1'}}, {'remediation': {'last_run': {}}},
            {'time': float('nan')}, {'time': deep}, {'time': 'x' * LIMIT}, {'time': b'x'},
        ):  # fmt: skip
            error = self.assertRaises(ReportFormatError, digest, plain(**changes), '1', 1.0)
            self.assertLess(len(str(error)), 100)
        others: tuple[object, ...] = (None, [], 'report', 7)
        for other in others:
            self.assertRaises(ReportFormatError, digest, other, '1', 1.0)

    def test_what_is_nested_too_deeply(self):
        fits: object = 1
        for _ in range(DEPTH - 1):
            fits = [fits]
        digest(plain(more=fits), '1', 1.0)
        for deeper in ([fits], {'x': fits}, [1, fits]):
            error = self.assertRaises(
                ReportFormatError, digest, plain(more=deeper, other=1), '1', 1.0
            )
            self.assertIn('nested', str(error))

    # How fast the machine is just now does not matter.
    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.dictionaries(st.sampled_from(sorted(plain())), JSON), JSON)
    def test_whatever_comes_is_kept_or_refused(self, changes, release):
        try:
            found = digest(plain(**changes), release, 1.0)
        except ReportFormatError:
            return
        self.assertTrue(found.host.isprintable())
        found.text.encode('ascii')
