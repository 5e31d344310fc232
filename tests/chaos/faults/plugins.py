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


"""The plugin of the destination is disabled, removed, or another one."""

import os
import pathlib

from tests.chaos import stage as stages
from tests.chaos.faults import base
from tests.chaos.stage import Stage
from tests.lab import compute
from tests.lab import processes

_NEWER = pathlib.Path(__file__).with_name('newer')
_DISABLED = """\
[freemem]
enabled = false
"""
_END_SECONDS = 60


class _Restarted(base.Fault):
    """nova-compute is killed on the destination, and another starts there."""

    def inject(self, stage: Stage) -> None:
        """Kill it, and prepare its next start."""
        one = stage.compute('destination')
        processes.kill(one.daemon.pid_file)
        self._change(one)

    def _change(self, one: compute.Compute) -> None:
        raise NotImplementedError


class Disabled(_Restarted):
    """The plugin is loaded and disabled, until the guest is whole."""

    def _change(self, one: compute.Compute) -> None:
        one.set_lines(stages.SWITCHED_OFF, _DISABLED)

    def recover(self, stage: Stage) -> None:
        """Start nova-compute; it is enabled again before the next cell."""
        stage.start_computes()


class _Replaced(_Restarted):
    """Nothing is restored until the source's plugin is there as well."""

    def recover(self, stage: Stage) -> None:
        """Have it run for Nova's part, then start it with the plugin."""
        stage.start_computes()
        stage.wait_idle(_END_SECONDS)
        one = stage.compute('destination')
        one.stop()
        self._change_back(one)
        stage.start_computes()

    def _change_back(self, one: compute.Compute) -> None:
        raise NotImplementedError


class Removed(_Replaced):
    """The plugin is not loaded."""

    def _change(self, one: compute.Compute) -> None:
        one.set_plugin(False)

    def _change_back(self, one: compute.Compute) -> None:
        one.set_plugin(True)


class Newer(_Replaced):
    """The plugin reads journal entries of another format only."""

    def _change(self, one: compute.Compute) -> None:
        path = os.environ.get('PYTHONPATH', '')
        one.environment['PYTHONPATH'] = f'{_NEWER}:{path}'

    def _change_back(self, one: compute.Compute) -> None:
        del one.environment['PYTHONPATH']
