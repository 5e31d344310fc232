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


"""What is shown of the logs of both nova-computes."""

from tests import base
from tests.chaos import account

_STAMP = '16:15:51.377 1194'
_INSTANCE = '[instance: 965c5954-8f74-4ced-b772-302deadb90fc]'
_LOG = f"""\
{_STAMP} INFO nova_freemem.report.reporter [-] {_INSTANCE} Restored memory of\
 the guest in 2.9 s: 1200000 -> 4194304 KiB.
{_STAMP} ERROR nova_freemem.report.reporter [None req-39fb045c 76ff b036 - -\
 default default] {_INSTANCE} Releasing memory failed: no route to host. The\
 live migration continues as Nova does it.
{_STAMP} ERROR nova_freemem.report.reporter {_INSTANCE} Traceback (most recent\
 call last):
{_STAMP} ERROR nova_freemem.report.reporter {_INSTANCE}   File\
 "source.py", line 91
{_STAMP} WARNING nova_freemem.restore.reconciler [-] Could not check the\
 guests of this host for outstanding memory: libvirtd is down.
{_STAMP} ERROR nova.compute.manager [-] {_INSTANCE} Nova's own.
"""


class LogsTest(base.TestCase):
    def test_a_cell_shows_warnings_of_the_plugin_without_their_traces(
        self,
    ) -> None:
        self.assertEqual(
            [
                f'ERROR {_INSTANCE} Releasing memory failed: no route to'
                ' host. The live migration continues as Nova does it.',
                'WARNING Could not check the guests of this host for'
                ' outstanding memory: libvirtd is down.',
            ],
            account.plugin_warnings(_LOG),
        )
