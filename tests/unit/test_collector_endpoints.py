"""What whoever asks the collector is told when it cannot answer."""

import logging
from unittest import mock

import fixtures
import sqlalchemy as sa
from oslo_messaging.rpc import dispatcher
from oslotest import base

from nested_agent.collector.endpoints import Answers


class FailureTest(base.BaseTestCase):
    def told(self, error: Exception) -> str:
        """Return what the caller is told; the log is in ``self.log``."""
        self.log = self.useFixture(fixtures.FakeLogger(level=logging.INFO))
        queries = mock.Mock()
        queries.summary.side_effect = error
        answers = Answers(queries, mock.Mock(), 'controller')
        failure = self.assertRaises(dispatcher.ExpectedException, answers.summary, {})
        return str(failure.exc_info[1])

    def test_the_database_is_away(self):
        told = self.told(sa.exc.OperationalError('SELECT', {}, Exception('gone')))
        self.assertIn('its database does not answer', told)
        self.assertIn('gone', self.log.output)
        self.assertNotIn('Traceback', self.log.output)

    def test_a_defect_is_not_put_down_to_the_database(self):
        told = self.told(KeyError('state'))
        self.assertIn('a defect of its own', told)
        self.assertIn('Traceback', self.log.output)
        self.assertIn("KeyError: 'state'", self.log.output)
