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


"""How faults are injected and recovered from, a module for each family."""

from collections.abc import Callable
from collections.abc import Mapping
import functools

from tests.chaos.faults import commands
from tests.chaos.faults import emulators
from tests.chaos.faults import guests
from tests.chaos.faults import hosts
from tests.chaos.faults import operations
from tests.chaos.faults import operators
from tests.chaos.faults import plugins
from tests.chaos.faults import services
from tests.chaos.faults.base import Fault

_BOTH = ('source', 'destination')

#: What makes a fault, by its name.
MAKE: Mapping[str, Callable[[], Fault]] = {
    **{
        f'{name}-{side}': functools.partial(make, side)
        for side in _BOTH
        for name, make in (
            ('compute', services.ComputeKilled),
            ('compute-stopped', services.ComputeStopped),
            ('libvirtd', services.LibvirtdRestarted),
            ('libvirtd-alone', services.LibvirtdAlone),
            ('qemu', emulators.Killed),
            ('disk', hosts.DiskFull),
            ('others-qemu', emulators.AnotherStopped),
            ('several-compute', services.ComputeKilled),
            ('several-libvirtd', services.LibvirtdAlone),
        )
    },
    'compute-both': functools.partial(services.ComputeKilled, *_BOTH),
    'link-interrupted': hosts.LinkCut,
    'link-cut': hosts.LinkCut,
    'broker': services.BrokerRestarted,
    'broker-stalled': services.BrokerStalled,
    'several-broker-stalled': services.BrokerStalled,
    'placement-down': services.PlacementDown,
    'restore-command': commands.Restore,
    'several-restore-command': commands.Restore,
    'repair-command': commands.Repair,
    'plugin-disabled': plugins.Disabled,
    'plugin-removed': plugins.Removed,
    'plugin-newer': plugins.Newer,
    'hard-reboot': operations.HardReboot,
    'resize': operations.Resize,
    'rebuild': operations.Rebuild,
    'rescue': operations.Rescue,
    'suspend': operations.Suspend,
    'shelve': operations.Shelve,
    'snapshot': operations.Snapshot,
    'evacuate': operations.Evacuate,
    'host-clock': hosts.ClockJumped,
    'guest-paused': operators.Paused,
    'server-deleted': operators.Deleted,
    'abort': operators.Aborted,
    'several-abort': operators.Aborted,
    'force-complete': operators.Forced,
    'balloon-moved': operators.BalloonMoved,
    **{
        name: functools.partial(guests.InGuest, name)
        for name in guests.SCRIPTS
    },
    **{
        name: functools.partial(guests.Restarts, name)
        for name in ('guest-reboots', 'guest-panics')
    },
}
