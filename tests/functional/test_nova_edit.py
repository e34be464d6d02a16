"""A part of the generated configurations; "tox -e fuzz" tries 100,000 and more."""

from oslotest import base
from testtools.content import text_content

from tests.functional import nova_conf_fuzz

#: Seconds rather than minutes; each seed is the same case on every machine.
SEEDS = range(600)


class GeneratedTest(base.BaseTestCase):
    def test_edited_or_refused(self) -> None:
        counts, wrong = nova_conf_fuzz.run(SEEDS)
        self.addDetail('counts', text_content(str(counts)))
        self.assertEqual([], wrong)
        # The generator must not have drifted into one corner.
        for way in ('undone', 'reverted', 'reverted behind others'):
            self.assertGreater(counts[f'edited; {way}'], 60, counts)
        self.assertTrue(60 < counts['refused'] < 200, counts)
