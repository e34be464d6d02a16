"""Which worker runs which node test."""

import re
from pathlib import Path

import yaml
from oslotest import base

NODE = Path(__file__).parents[1] / 'node'


class WorkersTest(base.BaseTestCase):
    def test_every_test_has_one(self):
        workers = [each['worker'] for each in yaml.safe_load((NODE / 'workers.yaml').read_text())]
        names = [f'tests.node.{path.stem}.' for path in NODE.glob('test_*.py')]
        self.assertIn('tests.node.test_intel.', names)
        for name in (*names, 'tests.node.inner.test_intel.', 'unittest.loader._FailedTest.'):
            found = [patterns for patterns in workers if any(re.search(p, name) for p in patterns)]
            self.assertEqual(1, len(found), name)
