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

"""Nova's own functional fixtures, with the plugin and a fake hypervisor.

nova-compute runs on native threads from Nova 34 on and on eventlet before,
and so do these tests. The environment variable is Nova's own; it must be
set before anything of Nova is imported.
"""

from importlib import metadata
import os

if int(metadata.version('nova').partition('.')[0]) >= 34:
    os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING', 'true')

from nova import monkey_patch

if hasattr(monkey_patch, 'patch'):  # Nova 31 patches when it is imported.
    monkey_patch.patch()

# Before the plugin imports libvirt: it gets the fake.
from tests.functional import bindings  # noqa: F401
