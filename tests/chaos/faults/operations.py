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


"""What Nova does with a server while memory of its guest is outstanding.

While a migration is in progress Nova refuses most of it.
"""

import contextlib

from tests.chaos import arguments
from tests.chaos.faults import base
from tests.chaos.faults import emulators
from tests.chaos.stage import Stage
from tests.lab import images
from tests.lab import processes
from tests.lab import steps

_STATUS_SECONDS = 120
_FLAVOR = 'freemem-chaos-resized'
_SNAPSHOT = 'freemem-chaos-snapshot'


class Operation(base.Fault):
    """One of Nova's operations is requested, and undone later.

    :cvar status: of the server once the operation is done.
    """

    status = 'ACTIVE'

    def __init__(self) -> None:
        super().__init__()
        self._was_accepted = False

    def inject(self, stage: Stage) -> None:
        """Request it."""
        with base.refusable():
            self._request(stage)
        self._was_accepted = True

    def recover(self, stage: Stage) -> None:
        """Wait for its end, and undo what does not end by itself."""
        if not self._was_accepted:
            return
        with contextlib.suppress(TimeoutError):
            wait_for_status(stage, self.status)
            self._undo(stage)
            wait_for_status(stage, 'ACTIVE')

    def _request(self, stage: Stage) -> None:
        raise NotImplementedError

    def _undo(self, stage: Stage) -> None:
        del stage


def wait_for_status(stage: Stage, status: str) -> None:
    """Wait until Nova has done what it does, and the server is as it says.

    :raises TimeoutError: it is not.
    """

    def is_so() -> bool:
        now = stage.cloud.get(stage.server)
        return now.status == status and not now.task_state

    steps.wait_for(is_so, f'server {status}', _STATUS_SECONDS, 0.5)


class HardReboot(Operation):
    """``openstack server reboot --hard``."""

    def _request(self, stage: Stage) -> None:
        stage.cloud.api.compute.reboot_server(stage.server.id, 'HARD')


class Rebuild(Operation):
    """``openstack server rebuild``."""

    def _request(self, stage: Stage) -> None:
        image = images.upload(stage.cloud.api)
        stage.cloud.api.compute.rebuild_server(stage.server.id, image.id)


class Rescue(Operation):
    """``openstack server rescue``, then ``unrescue``."""

    status = 'RESCUE'

    def _request(self, stage: Stage) -> None:
        stage.cloud.api.compute.rescue_server(stage.server.id)

    def _undo(self, stage: Stage) -> None:
        stage.cloud.api.compute.unrescue_server(stage.server.id)


class Suspend(Operation):
    """``openstack server suspend``, then ``resume``."""

    status = 'SUSPENDED'

    def _request(self, stage: Stage) -> None:
        stage.cloud.api.compute.suspend_server(stage.server.id)

    def _undo(self, stage: Stage) -> None:
        stage.cloud.api.compute.resume_server(stage.server.id)


class Shelve(Operation):
    """``openstack server shelve``, then ``unshelve``."""

    status = 'SHELVED_OFFLOADED'

    def _request(self, stage: Stage) -> None:
        stage.cloud.api.compute.shelve_server(stage.server.id)

    def _undo(self, stage: Stage) -> None:
        stage.cloud.api.compute.unshelve_server(stage.server.id)


class Snapshot(Operation):
    """``openstack server image create``."""

    def _request(self, stage: Stage) -> None:
        stage.cloud.api.compute.create_server_image(stage.server.id, _SNAPSHOT)

    def _undo(self, stage: Stage) -> None:
        api = stage.cloud.api.image
        for image in list(api.images(name=_SNAPSHOT)):
            api.delete_image(image)


class Resize(Operation):
    """``openstack server resize``, to a flavor of the same size."""

    status = 'VERIFY_RESIZE'

    def _request(self, stage: Stage) -> None:
        api = stage.cloud.api.compute
        flavor = api.find_flavor(_FLAVOR) or api.create_flavor(
            name=_FLAVOR,
            ram=arguments.MEMORY_MIB,
            vcpus=images.VCPUS,
            disk=0,
        )
        api.resize_server(stage.server.id, flavor.id)

    def _undo(self, stage: Stage) -> None:
        stage.cloud.api.compute.confirm_server_resize(stage.server.id)


class Evacuate(Operation):
    """``openstack server evacuate``, from a host that has failed."""

    status = 'SHUTOFF'  # Nova does not start it since microversion 2.95.

    def _request(self, stage: Stage) -> None:
        processes.kill(stage.compute('source').daemon.pid_file)
        emulators.find(stage.source, stage.server.id).kill()
        api = stage.cloud.api.compute
        for service in api.services(
            binary='nova-compute', host=stage.source.layout.hostname
        ):
            api.update_service_forced_down(service.id, forced=True)
        api.evacuate_server(
            stage.server.id, host=stage.destination.layout.hostname
        )

    def _undo(self, stage: Stage) -> None:
        stage.cloud.api.compute.start_server(stage.server.id)

    def recover(self, stage: Stage) -> None:
        """Wait for its end, and bring the failed host up again."""
        super().recover(stage)
        stage.start_computes()
