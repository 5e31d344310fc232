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

"""What surrounds a nova-compute here: its file, its driver, its clock."""

import pathlib
import textwrap
import threading
import time
from typing import Any

import fixtures
from nova import config
from nova.virt import driver as virt_driver
from nova.virt import libvirt as virt_libvirt
from nova.virt.libvirt import driver as libvirt_driver

from nova_freemem import clock

LOAD = virt_driver.load_compute_driver
DRIVER = libvirt_driver.LibvirtDriver

SHORT_SECONDS = 4


class OperatorsFile(fixtures.Fixture):
    """Have Nova's fixtures read a configuration file of the operator's.

    :param text: the file
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def _setUp(self) -> None:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self._path = folder / 'freemem.conf'
        self.write(self.text)
        parse_args = config.parse_args

        def with_the_file(argv: list[str], **kwargs: Any) -> None:
            kwargs['default_config_files'] = [str(self._path)]
            parse_args(argv, **kwargs)

        self.useFixture(
            fixtures.MonkeyPatch('nova.config.parse_args', with_the_file)
        )

    def write(self, text: str) -> None:
        """Have a nova-compute that starts from now on read something else.

        :param text: the file
        """
        self._path.write_text(textwrap.dedent(text))


class StockNova(fixtures.Fixture):
    """Nova's own loader and driver; what replaces them ends with this."""

    def _setUp(self) -> None:
        for place, stock in (
            (f'{virt_driver.__name__}.load_compute_driver', LOAD),
            (f'{virt_libvirt.__name__}.LibvirtDriver', DRIVER),
        ):
            self.useFixture(fixtures.MonkeyPatch(place, stock))


class PassingClock(clock.Clock):
    """Short waits pass at once, and count as if they had not."""

    def __init__(self) -> None:
        self._skipped_seconds = 0.0

    def now(self) -> float:
        """See :meth:`nova_freemem.clock.Clock.now`."""
        return super().now() + self._skipped_seconds

    def wait(
        self, seconds: float, until: threading.Event | None = None
    ) -> None:
        """See :meth:`nova_freemem.clock.Clock.wait`."""
        if seconds > SHORT_SECONDS and until is not None:
            super().wait(seconds, until)  # the reconciler, until called
            return
        self._skipped_seconds += seconds
        time.sleep(0)  # Waiting for an event for no time is no turn of others.
