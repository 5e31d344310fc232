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

"""Nova's tests of its libvirt driver, with that driver or with ours.

``NOVA_FREEMEM_SUITE`` names the suite and ``NOVA_FREEMEM_DRIVER`` the
driver, ``stock`` or ``freemem``.
"""

import importlib
import importlib.util
import os
import sys
from typing import Any
import unittest

SUITES = {
    'unit': ('nova.tests.unit', ['virt.libvirt.test_driver']),
    'functional': (
        'nova.tests.functional',
        [
            'compute.test_live_migration',
            'libvirt.test_evacuate',
            'libvirt.test_live_migration',
            'libvirt.test_migration_addr',
            'libvirt.test_numa_live_migration',
            'libvirt.test_numa_servers',
            'libvirt.test_pci_sriov_servers',
            'libvirt.test_vtpm',
            'test_graceful_shutdown',
        ],
    ),
}


def load_tests(
    loader: unittest.TestLoader, _tests: Any, _pattern: Any
) -> unittest.TestSuite:
    """Find the tests of the suite that this Nova has."""
    package, modules = SUITES[os.environ['NOVA_FREEMEM_SUITE']]
    # Eventlet or threads is decided here, and Nova's fake libvirt put in the
    # place of the real one: before anything of Nova or the plugin.
    importlib.import_module('tests.functional')
    from nova.conf import paths

    # Below it, a wheel of Nova has installed etc/nova/api-paste.ini.
    for option in paths.ALL_OPTS:
        if option.name == 'pybasedir':
            option.default = sys.prefix
    if os.environ['NOVA_FREEMEM_DRIVER'] == 'freemem':
        from tests.novas.nova import in_place

        in_place.put()
    names = [f'{package}.{module}' for module in modules]
    return loader.loadTestsFromNames(
        [name for name in names if importlib.util.find_spec(name)]
    )
