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

"""Observes a migrating guest from outside, on both of its hosts.

Two threads a host: one asks for the guest's state, which needs no job and
waits for nobody; one asks the rest, which waits for QEMU, of a guest that
runs there. How often is for the user to say: emulated guests share the
machine's processors with whoever looks at them.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import functools
import threading
import time
from typing import Any
from typing import Self

import libvirt

from nova_freemem import exceptions
from nova_freemem.virt import guest as guests
from tests.lab import host as lab_host
from tests.lab import virt
from tests.lab.observation import History
from tests.lab.observation import Observation
from tests.lab.observation import Sample
from tests.lab.observation import Since
from tests.lab.observation import State
from tests.lab.observation import View

_RETRY_SECONDS = 0.1

#: Asks something of a guest's domain: fields of a Sample.
Read = Callable[[libvirt.virDomain], Mapping[str, Any]]


def state(domain: libvirt.virDomain, arrives: bool) -> State:
    """Read a guest's state on one host.

    :param arrives: whether it is on its way to this host.
    """
    number, reason = domain.state()
    if number == libvirt.VIR_DOMAIN_RUNNING:
        is_in_post_copy = reason == libvirt.VIR_DOMAIN_RUNNING_POSTCOPY
        return State.POST_COPY if is_in_post_copy else State.RUNNING
    if number != libvirt.VIR_DOMAIN_PAUSED:
        return State.OFF
    return {
        libvirt.VIR_DOMAIN_PAUSED_POSTCOPY: State.POST_COPY,
        libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: State.POST_COPY,
        libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: State.ARRIVING,
        libvirt.VIR_DOMAIN_PAUSED_MIGRATION: (
            State.ARRIVING if arrives else State.SWITCHING
        ),
    }.get(reason, State.PAUSED)


def memory(domain: libvirt.virDomain) -> Mapping[str, Any]:
    """Read the memory of a guest and of its QEMU."""
    stats = domain.memoryStats()
    return {
        'balloon_kib': stats.get('actual'),
        'rss_kib': stats.get('rss'),
        'stats_updated_at': stats.get('last_update') or None,
    }


def job(domain: libvirt.virDomain) -> Mapping[str, Any]:
    """Read how far a guest's migration is, at the source."""
    stats = domain.jobStats()
    elapsed_ms = stats.get(libvirt.VIR_DOMAIN_JOB_TIME_ELAPSED)
    return {
        'job_seconds': None if elapsed_ms is None else elapsed_ms / 1000,
        'job_bytes': stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_PROCESSED, 0),
        'disks_left_bytes': stats.get(libvirt.VIR_DOMAIN_JOB_DISK_REMAINING),
    }


def journal(domain: libvirt.virDomain) -> Mapping[str, Any]:
    """Read whether a guest has a journal entry."""
    return {'journal_entry': guests.Guest(domain).read_metadata() is not None}


def definition(domain: libvirt.virDomain) -> Mapping[str, Any]:
    """Read the memory a guest would have at its next start."""
    return {'definition_kib': virt.persistent_memory_kib(domain)}


def seldom(read: Read, seconds: float) -> Read:
    """Have something asked only now and then.

    :param seconds: the least time between two answers.
    """
    due_at = 0.0

    def read_when_due(domain: libvirt.virDomain) -> Mapping[str, Any]:
        nonlocal due_at
        if time.monotonic() < due_at:
            return {}
        due_at = time.monotonic() + seconds
        return read(domain)

    return read_when_due


@functools.cache
def start_event_loop() -> None:
    """Have libvirt deliver events; before any connection is opened."""
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_loop, name='libvirt-events', daemon=True).start()


def _loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


class Observer:
    """Observes one guest's migration, as a context manager.

    :param uuid: the guest's, which is its server's id.
    :param hosts: where to look: ``source``, ``destination`` or both.
    :param state_seconds: from one look at the guest's state to the next;
        None: nobody looks, libvirt tells as soon as the guest resumes. That
        ends its migration; Nova's driver hears of the same as
        ``EVENT_LIFECYCLE_RESUMED``. See start_event_loop(), and
        look_at_state() for an event that is missed.
    :param memory_seconds: from one look at the rest to the next.
    :param read: what the rest is, in this order.
    :param counts_link: whether to read what the hosts send over the link.
    """

    def __init__(
        self,
        uuid: str,
        hosts: Mapping[str, lab_host.Host],
        *,
        state_seconds: float | None,
        memory_seconds: float,
        read: Sequence[Read] = (memory, job),
        counts_link: bool = False,
    ) -> None:
        """Initialize without looking yet."""
        self._uuid = uuid
        self._hosts = hosts
        self._state_seconds = state_seconds
        self._memory_seconds = memory_seconds
        self._slowness = 1
        self._read = read
        self._counts_link = counts_link
        self._changed = threading.Condition()
        self._histories = {'source': History(), 'destination': History()}
        self._followed: list[Since] = []
        self._runs = {side: threading.Event() for side in hosts}
        self._over = threading.Event()
        self._ears = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for side in self._hosts:
            if self._state_seconds is None:
                self._listen(side)
            else:
                self._start(self._watch_state, side, self._state_seconds)
            self._start(self._watch_rest, side, self._memory_seconds)
        return self

    def __exit__(self, *_error: object) -> None:
        # The threads are not waited for: libvirt may keep one of them for
        # half a minute.
        self._over.set()
        for event in self._runs.values():
            event.set()
        self._ears.close()

    # --- what was seen

    def view(self) -> View:
        """Tell what was last seen."""
        with self._changed:
            return self._view()

    def observation(self) -> Observation:
        """Tell all that has been seen so far."""
        with self._changed:
            return Observation(
                *(
                    tuple(self._histories[side].samples)
                    for side in ('source', 'destination')
                )
            )

    def wait_for(
        self, condition: Callable[[View], bool], seconds: float
    ) -> bool:
        """Wait until something is true of the guest.

        :param seconds: how long.
        :returns: whether it came true.
        """
        with self._changed:
            return self._changed.wait_for(
                lambda: condition(self._view()), seconds
            )

    def wait_landed(self, seconds: float | None = None) -> float | None:
        """Wait until the guest runs at the destination, seen or heard.

        :param seconds: how long; None: until the end of the observation.
        :returns: the moment it began to; None where it did not.
        """
        self._runs['destination'].wait(seconds)
        return self.observation().landed

    def look_at_state(self, side: str) -> None:
        """Look at the guest's state now, whether an event tells of it or not.

        :param side: ``source`` or ``destination``.
        :raises libvirtError: libvirt does not answer.
        """
        connection = self._hosts[side].libvirt()
        self._see(side, self._state(side, self._find(connection)))
        connection.close()

    def follow(self, holds: Callable[[View], bool]) -> Since:
        """Keep since when something is true of the guest, from now on."""
        followed = Since(holds)
        with self._changed:
            followed.see(self._view(), time.monotonic())
            self._followed.append(followed)
        return followed

    def slow_down(self, times: int) -> None:
        """Look less often from now on: no moment is waited for any more."""
        self._slowness = times

    def _view(self) -> View:
        return View(
            self._histories['source'].latest,
            self._histories['destination'].latest,
        )

    # --- what the threads do

    def _start(
        self, watch: Callable[[str, float], None], side: str, seconds: float
    ) -> None:
        threading.Thread(
            target=watch, args=(side, seconds), daemon=True
        ).start()

    def _watch_state(self, side: str, seconds: float) -> None:
        self._repeat(side, self._state, seconds)

    def _watch_rest(self, side: str, seconds: float) -> None:
        self._runs[side].wait()
        self._repeat(side, self._rest, seconds)

    def _repeat(
        self,
        side: str,
        look: Callable[[str, libvirt.virDomain | None], Mapping[str, Any]],
        seconds: float,
    ) -> None:
        """Look until told to stop, whatever happens to libvirtd."""
        while not self._over.is_set():
            try:
                connection = self._hosts[side].libvirt()
            except libvirt.libvirtError:
                self._see(side, {'state': State.UNKNOWN})
                self._over.wait(_RETRY_SECONDS)
                continue
            with contextlib.suppress(libvirt.libvirtError):
                while connection.isAlive() and not self._over.is_set():
                    with contextlib.suppress(libvirt.libvirtError):
                        self._see(side, look(side, self._find(connection)))
                    self._over.wait(seconds * self._slowness)
                connection.close()

    def _find(
        self, connection: libvirt.virConnect
    ) -> libvirt.virDomain | None:
        try:
            return connection.lookupByUUIDString(self._uuid)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise

    def _state(
        self, side: str, domain: libvirt.virDomain | None
    ) -> Mapping[str, Any]:
        seen: dict[str, Any] = {'state': State.AWAY}
        if domain is not None:
            seen['state'] = state(domain, side == 'destination')
        if self._counts_link:
            seen['sent_bytes'], _ = self._hosts[side].link_bytes()
        return seen

    def _rest(
        self, _side: str, domain: libvirt.virDomain | None
    ) -> Mapping[str, Any]:
        seen: dict[str, Any] = {}
        # Of a guest that does not run here, libvirt would wait for QEMU.
        if domain is None or state(domain, False) is not State.RUNNING:
            return seen
        with contextlib.suppress(
            libvirt.libvirtError, exceptions.FreememError
        ):
            for read in self._read:
                seen |= read(domain)
        return seen

    def _see(self, side: str, seen: Mapping[str, Any]) -> None:
        if not seen:
            return
        with self._changed:
            sample = Sample(time.monotonic(), **seen)
            self._histories[side].add(sample)
            for followed in self._followed:
                followed.see(self._view(), sample.at_seconds)
            self._changed.notify_all()
        if sample.state is State.RUNNING:
            self._runs[side].set()

    def _listen(self, side: str) -> None:
        """Have libvirt tell as soon as the guest resumes on a host."""
        connection = self._hosts[side].libvirt()

        def hear(
            _connection: libvirt.virConnect,
            domain: libvirt.virDomain,
            event: int,
            _detail: int,
            _opaque: None,
        ) -> None:
            is_it = domain.UUIDString() == self._uuid
            if is_it and event == libvirt.VIR_DOMAIN_EVENT_RESUMED:
                self._see(side, {'state': State.RUNNING})

        number = connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, hear, None
        )
        self._ears.callback(connection.close)
        self._ears.callback(connection.domainEventDeregisterAny, number)
