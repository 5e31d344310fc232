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
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self._path = self.folder / 'freemem.conf'
        self.write(self.text)
        parse_args = config.parse_args

        def with_the_file(_argv: list[str], **kwargs: Any) -> None:
            kwargs['default_config_files'] = [str(self._path)]
            parse_args(['nova-compute', *self.arguments()], **kwargs)

        self.useFixture(
            fixtures.MonkeyPatch('nova.config.parse_args', with_the_file)
        )

    def arguments(self) -> list[str]:
        """:returns: the command line, on which no file is named."""
        return []

    def write(self, text: str) -> None:
        """Have a nova-compute that starts from now on read something else.

        :param text: the file
        """
        self._path.write_text(textwrap.dedent(text))


class Directories(OperatorsFile):
    """Several directories, and the operator's file after them."""

    #: What the directories say; the file is to win over them all.
    OTHERWISE = '[freemem]\nenabled = false\nheadroom_percent = 90\n'

    def arguments(self) -> list[str]:
        """:returns: a command line that names them all."""
        arguments = []
        for number in range(5):
            folder = self.folder / f'{number}.d'
            folder.mkdir(exist_ok=True)
            (folder / '10.conf').write_text(self.OTHERWISE)
            arguments += ['--config-dir', str(folder)]
        return [*arguments, '--config-file', str(self._path)]


class StockNova(fixtures.Fixture):
    """Nova's own loader and driver; what replaces them ends with this."""

    def _setUp(self) -> None:
        # Drivers of tests before would follow the options of this one.
        self.useFixture(
            fixtures.MonkeyPatch('nova.conf.CONF._mutate_hooks', set())
        )
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
