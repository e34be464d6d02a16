"""How Sphinx builds the documentation: ``tox -e docs``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / 'ext'))

project = 'nested_agent'
author = 'nested_agent maintainers'
copyright = 'nested_agent maintainers. Apache License 2.0'  # noqa: A001  # Sphinx's name

extensions = [
    'openstackdocstheme',
    'oslo_config.sphinxext',
    'command_help',
]
master_doc = 'index'
html_theme = 'openstackdocs'
html_static_path = ['_static']
nitpicky = True
pygments_style = 'native'

# There is no stable branch to choose from, and no bug tracker to link to.
openstackdocs_auto_name = False
openstackdocs_repo_name = ''
openstackdocs_pdf_link = False

autoprogram_cliff_application = 'nested-agentctl'
autoprogram_cliff_app_dist_name = 'nested-agent'
# Of the output, the same with every command; cli/nested-agentctl.rst says what there is.
autoprogram_cliff_ignored = [
    '--help',
    '--format',
    '--column',
    '--fit-width',
    '--max-width',
    '--noindent',
    '--prefix',
    '--print-empty',
    '--quote',
    '--sort-ascending',
    '--sort-column',
    '--sort-descending',
]


# Section 1, as of all of OpenStack's services.
man_pages = [
    ('cli/nested-agent', 'nested-agent', 'nested virtualization agent', author, 1),
    ('cli/nested-agent-status', 'nested-agent-status', 'before an upgrade', author, 1),
    ('cli/nested-agentctl', 'nested-agentctl', 'ask and fix a compute node', author, 1),
    ('cli/nested-collector', 'nested-collector', 'what the agents of a cloud report', author, 1),
    (
        'cli/nested-collector-manage',
        'nested-collector-manage',
        'the database of nested-collector',
        author,
        1,
    ),
]
