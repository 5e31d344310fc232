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


"""The statistics of a transfer: the bandwidth that is learnt from them."""

import math

from nova_freemem.migrate import transfer
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan import release_rate as release_rates
from nova_freemem.plan import traffic
from nova_freemem.plan import transfer_meter
from nova_freemem.release.requests import Request
from nova_freemem.release.requests import Requests
from nova_freemem.virt import guest as guests
from tests.fuzz import choices as fuzz_choices
from tests.fuzz import handle
from tests.fuzz import oracle

MODULES = (
    'nova_freemem.migrate.transfer',
    'nova_freemem.plan.bandwidth',
    'nova_freemem.plan.traffic',
    'nova_freemem.plan.transfer_meter',
    'nova_freemem.virt.transfer_progress',
)

OTHERS = (
    'memory_remaining',
    'memory_constant',
    'memory_page_size',
    'memory_iteration',
    'auto_converge_throttle',
    'disk_remaining',
)

TRANSFER_SECONDS = 10.0


def seeds() -> list[bytes]:
    """:returns: a steady transfer, and others."""
    return [b'\x01\x10\0\0', b'\xff\x01', b'\x01\x02\x03' * 9]


def run(data: bytes) -> None:
    """Watch a transfer with such statistics.

    :param data: see choices.py.
    """
    choices = fuzz_choices.Choices(data)
    sent = {'memory_processed': 0}

    def job() -> dict[str, object]:
        if not choices.number(15):
            return {}
        if not choices.number(7):
            return {'memory_processed': choices.value()}
        sent['memory_processed'] += choices.number(1 << 40)
        return sent | {
            name: choices.value() for name in OTHERS if choices.number(3)
        }

    links = bandwidths.Bandwidths(0, lambda: None)
    sender = traffic.Sender()
    requests = Requests()
    with handle.fake_time() as clock, oracle.only_own_errors():
        guest = handle.Handle(clock)
        guest.job = job
        clock.after(
            TRANSFER_SECONDS,
            lambda: requests.submit(Request.TRANSFER_ENDED),
        )
        rates = release_rates.ReleaseRates()
        transfer.measure(
            guests.Guest(guest),
            'dest',
            transfer_meter.TransferMeter(1 << 21),
            sender,
            links,
            rates,
            clock,
            requests,
        )
        assert not links.traffic.beside()
        rate = links.to('dest', clock.now())
        assert 0 < rate.kib_per_second < math.inf, rate
        oracle.check_harmless(str(rate))
        look = rates.of('another', clock.now()).look_kib_per_second
        assert 0 < look < math.inf, look
