# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""The manual."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'ext'))

project = 'nova-freemem'
extensions = [
    'openstackdocstheme',
    'oslo_config.sphinxext',
    'oslo_config.sphinxconfiggen',
    'cliff.sphinxext',
    'freemem_pictures',
    'freemem_reasons',
]

openstackdocs_auto_name = False
openstackdocs_auto_version = False
master_doc = 'index'
html_theme = 'openstackdocs'
html_theme_options = {'sidebar_mode': 'toctree'}
pygments_style = 'native'

# What a system's own manual has of it: "sphinx-build -b man".
man_pages = [
    (
        'cli/nova-freemem',
        'nova-freemem',
        'release and restore memory of guests in live migrations',
        '',
        8,
    ),
    (
        'cli/nova-freemem-status',
        'nova-freemem-status',
        'check whether a host is set up to release and restore memory',
        '',
        8,
    ),
]

config_generator_config_file = '../../etc/oslo-config-generator.conf'
sample_config_basename = '_static/nova-freemem'

# Of the options that cliff gives to each command, those of use to operators.
autoprogram_cliff_app_dist_name = 'nova-freemem'
autoprogram_cliff_ignored = [
    '--fit-width',
    '--help',
    '--max-width',
    '--noindent',
    '--prefix',
    '--print-empty',
    '--quote',
    '--sort-ascending',
    '--sort-column',
    '--sort-descending',
]
