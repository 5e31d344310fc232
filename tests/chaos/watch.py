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


"""Watches a guest on both hosts, closely enough to hit a phase.

Two threads a host: one asks for the guest's state, which waits for nobody,
each 20 ms; one asks for the rest, which waits for QEMU, each 30 ms.
"""

from collections.abc import Callable
import contextlib
import dataclasses
import threading
import time
import types
from typing import Any
from typing import Self

import libvirt

from nova_freemem import exceptions
from tests.chaos import looks
from tests.chaos import phases
from tests.chaos.phases import Before
from tests.chaos.phases import Look
from tests.chaos.phases import Phase
from tests.chaos.phases import State
from tests.chaos.phases import View
from tests.lab import host as lab_host

_STATE_SECONDS = 0.02
_DETAIL_SECONDS = 0.03
# Once the fault is there, nobody waits for a moment any more.
_AFTERWARDS = 5
# What changes seldom is asked for seldom.
_DEFINITION_SECONDS = 0.3
_RETRY_SECONDS = 0.1


class Watch:
    """Watches one guest's migration, as a context manager.

    :param uuid: the guest's, which is its server's id.
    :param source: the host it is on.
    :param destination: the host it goes to.
    """

    def __init__(
        self, uuid: str, source: lab_host.Host, destination: lab_host.Host
    ) -> None:
        self._uuid = uuid
        self._hosts = {'source': source, 'destination': destination}
        self._changed = threading.Condition()
        self._looks = {'source': Look(), 'destination': Look()}
        self._moved_at = dict.fromkeys(self._hosts, 0.0)
        self._stop_wanted = threading.Event()
        self._threads: list[threading.Thread] = []
        self._whole: list[tuple[float, bool]] = []
        self._whole_if: Callable[[View], bool] = lambda _view: False
        self._pace = 1
        self._had_outstanding = False

    def __enter__(self) -> Self:
        for side in self._hosts:
            for loop in (self._watch_state, self._watch_detail):
                thread = threading.Thread(
                    target=loop, args=(side,), daemon=True
                )
                thread.start()
                self._threads.append(thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        # Not waited for: libvirt may keep one of them for half a minute.
        self._stop_wanted.set()

    def view(self) -> View:
        """Tell what was last seen."""
        with self._changed:
            return self._view()

    def judge_by(self, whole_if: Callable[[View], bool]) -> None:
        """Keep whether the guest is whole, from now on.

        :param whole_if: what that is.
        """
        with self._changed:
            self._pace = _AFTERWARDS
            self._whole_if = whole_if
            self._whole = []
            self._note()

    def had_outstanding_memory(self) -> bool:
        """Tell whether the guest has been owed memory since the start."""
        with self._changed:
            return self._had_outstanding

    def whole_since(self) -> float | None:
        """Tell since when the guest is whole; None where it is not."""
        with self._changed:
            return phases.since(self._whole)

    def wait_for(
        self, phase: Phase, before: Before, seconds: float
    ) -> Phase | None:
        """Wait for a phase, or for a later one where it was missed.

        :returns: the phase the migration is in; None where it did not get
            there in time.
        """
        until = time.monotonic() + seconds
        with self._changed:
            while True:
                here = phases.now(self._view(), before)
                if here >= phase:
                    return here
                left_seconds = until - time.monotonic()
                if left_seconds <= 0:
                    return None
                self._changed.wait(left_seconds)

    # --- what the threads do

    def _watch_state(self, side: str) -> None:
        def look(domain: libvirt.virDomain | None) -> dict[str, Any]:
            if domain is None:
                return {
                    **dataclasses.asdict(Look()),
                    'state': State.AWAY,
                }
            return {'state': looks.state(domain, side == 'destination')}

        self._watch(side, look, _STATE_SECONDS)

    def _watch_detail(self, side: str) -> None:
        read_at = 0.0

        def look(domain: libvirt.virDomain | None) -> dict[str, Any]:
            nonlocal read_at
            if (
                domain is None
                or looks.state(domain, False) is not State.RUNNING
            ):
                return {}
            seen = looks.detail(domain)
            if time.monotonic() - read_at > _DEFINITION_SECONDS:
                read_at = time.monotonic()
                with contextlib.suppress(libvirt.libvirtError):
                    seen['definition_kib'] = looks.definition_kib(domain)
            return seen

        self._watch(side, look, _DETAIL_SECONDS)

    def _watch(
        self,
        side: str,
        look: Callable[[libvirt.virDomain | None], dict[str, Any]],
        every_seconds: float,
    ) -> None:
        """Look until told to stop, whatever happens to libvirtd."""
        while not self._stop_wanted.is_set():
            try:
                connection = self._hosts[side].libvirt()
            except libvirt.libvirtError:
                self._see(side, {'state': State.UNKNOWN})
                self._stop_wanted.wait(_RETRY_SECONDS)
                continue
            with contextlib.suppress(libvirt.libvirtError):
                while connection.isAlive():
                    if self._stop_wanted.wait(every_seconds * self._pace):
                        break
                    with contextlib.suppress(
                        libvirt.libvirtError, exceptions.FreememError
                    ):
                        self._see(side, look(self._find(connection)))
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

    def _see(self, side: str, seen: dict[str, Any]) -> None:
        with self._changed:
            known = self._looks[side]
            look = dataclasses.replace(known, **seen)
            now = time.monotonic()
            has_moved = look.balloon_kib != known.balloon_kib
            if has_moved and known.balloon_kib is not None:
                self._moved_at[side] = now
            if 'balloon_kib' in seen:
                still_seconds = now - self._moved_at[side]
                look = dataclasses.replace(look, still_seconds=still_seconds)
            self._looks[side] = look
            self._had_outstanding |= bool(look.journal_entry)
            self._note()
            self._changed.notify_all()

    def _view(self) -> View:
        return View(self._looks['source'], self._looks['destination'])

    def _note(self) -> None:
        is_whole = self._whole_if(self._view())
        if not self._whole or self._whole[-1][1] is not is_whole:
            self._whole.append((time.monotonic(), is_whole))
