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


"""One module for each place that reads something from a guest, or a service.

``MODULES`` names the modules that read it, ``seeds`` gives honest data to
start from, and ``run`` raises if they do what they must not, for any data.
"""

import importlib
from types import ModuleType

NAMES = (
    'agent',
    'tables',
    'ranges',
    'statistics',
    'entry',
    'description',
    'planning',
    'transfer',
    'migration',
    'placement',
)


def load(name: str) -> ModuleType:
    """:returns: a target."""
    return importlib.import_module(f'{__name__}.{name}')
