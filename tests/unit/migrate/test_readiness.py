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

"""Whether a destination restores memory, asked of a Placement."""

import dataclasses
import logging
import threading
import time
from typing import Any
from unittest import mock

from oslo_context import context
from oslo_context import fixture as context_fixture

from nova_freemem.migrate import readiness
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from tests import base
from tests.simulation import fakes


@dataclasses.dataclass
class Response:
    """What Placement answers."""

    status_code: int
    providers: Any

    def json(self) -> dict[str, Any]:
        """See :meth:`requests.Response.json`."""
        return {'resource_providers': self.providers}


PROVIDER = {'uuid': '6d2b', 'name': 'dest'}


class DestinationsTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = fakes.FakeClock()
        self.get = mock.Mock(side_effect=self.answer)
        self.status_code = 200
        self.providers = [PROVIDER]
        self.destinations = readiness.Destinations(self.get, self.clock, 30.0)

    def answer(self, _url: str, version: str) -> Response:
        """Answer as Placement does."""
        return Response(self.status_code, self.providers)

    def assert_not_ready(self, words: str, node: str = 'dest') -> None:
        skip = self.destinations.skip(node)
        self.assertEqual(Skip(Reason.DESTINATION_NOT_READY, words), skip)

    def test_a_destination_with_the_trait_is_ready(self) -> None:
        self.assertIsNone(self.destinations.skip('dest'))
        self.get.assert_called_once_with(
            '/resource_providers?name=dest&required=CUSTOM_NOVA_FREEMEM',
            version='1.18',
        )

    def test_a_destination_without_the_trait_is_not(self) -> None:
        self.providers = []
        self.assert_not_ready(
            'dest has no trait CUSTOM_NOVA_FREEMEM in Placement'
        )

    def test_nor_is_any_where_placement_does_not_know_the_trait(self) -> None:
        self.status_code = 400
        self.assert_not_ready(
            'dest has no trait CUSTOM_NOVA_FREEMEM in Placement'
        )

    def test_a_name_cannot_change_the_question(self) -> None:
        self.destinations.skip('a&required=HW b')
        (url,) = self.get.call_args.args
        self.assertIn('?name=a%26required%3DHW+b&required=CUSTOM_', url)

    def test_what_is_ready_is_asked_for_once_in_five_minutes(self) -> None:
        for _migration in range(3):
            self.assertIsNone(self.destinations.skip('dest'))
        self.assertEqual(1, self.get.call_count)
        self.clock.wait(301)
        self.assertIsNone(self.destinations.skip('dest'))
        self.assertEqual(2, self.get.call_count)

    def test_one_destination_says_nothing_of_another(self) -> None:
        self.assertIsNone(self.destinations.skip('dest'))
        self.providers = []
        self.assertIsNotNone(self.destinations.skip('other'))

    def test_once_it_has_the_plugin_it_is_ready_at_once(self) -> None:
        self.providers = []
        self.assertIsNotNone(self.destinations.skip('dest'))
        self.providers = [PROVIDER]
        self.assertIsNone(self.destinations.skip('dest'))

    def test_once_it_has_lost_the_plugin_it_is_not(self) -> None:
        self.assertIsNone(self.destinations.skip('dest'))
        self.providers = []
        self.clock.wait(301)
        self.assertIsNotNone(self.destinations.skip('dest'))

    def test_what_goes_wrong_is_logged_with_novas_request(self) -> None:
        log = self.useFixture(base.NovaLog())
        request = context.RequestContext()
        self.addCleanup(context_fixture.ClearRequestContext().setUp)

        def fail(_url: str, version: str) -> Response:
            logging.getLogger(readiness.__name__).warning('Placement is down')
            raise OSError('connection refused')

        self.get.side_effect = fail
        self.assertIsNotNone(self.destinations.skip('dest'))
        (line,) = log.lines('Placement is down')
        self.assertIn(f'[None {request.request_id} ', line)

    def test_what_is_known_of_old_destinations_is_forgotten(self) -> None:
        for number in range(100):
            self.assertIsNone(self.destinations.skip(f'dest{number}'))
            self.clock.wait(60)
        self.assertLess(len(self.destinations._ready_until_seconds), 7)
        self.assertEqual({}, self.destinations._asked)

    def test_a_placement_that_answers_with_an_error(self) -> None:
        self.status_code = 503
        self.assert_not_ready(
            "Placement could not be asked: 'it answered 503'"
        )
        self.status_code = 200
        self.assertIsNone(self.destinations.skip('dest'))

    def test_a_placement_that_cannot_be_reached(self) -> None:
        self.get.side_effect = OSError('connection refused')
        self.assert_not_ready(
            "Placement could not be asked: 'connection refused'"
        )
        self.assertEqual({}, self.destinations._asked)

    def test_where_no_thread_starts_any_more(self) -> None:
        thread = self.patch_autospec(threading, 'Thread')
        thread.return_value.start.side_effect = RuntimeError('no thread')
        self.assert_not_ready("Placement could not be asked: 'no thread'")
        self.assertEqual({}, self.destinations._asked)


class SlowPlacementTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = fakes.FakeClock()
        self.answers = threading.Event()
        self.addCleanup(self.answers.set)
        self.asked = 0
        self.destinations = readiness.Destinations(self.get, self.clock, 0.05)

    def get(self, _url: str, version: str) -> Response:
        """Answer late."""
        self.asked += 1
        self.answers.wait(60)
        return Response(200, [PROVIDER])

    def test_it_is_not_waited_for(self) -> None:
        self.assertEqual(
            Skip(
                Reason.DESTINATION_NOT_READY,
                'Placement did not answer within 0.05 s',
            ),
            self.destinations.skip('dest'),
        )
        self.assertLessEqual(readiness.WAIT_SECONDS, 1.0)

    def test_it_is_not_asked_again_meanwhile(self) -> None:
        for _migration in range(3):
            self.assertIsNotNone(self.destinations.skip('dest'))
        self.assertEqual(1, self.asked)

    def test_its_late_answer_serves_the_next_migration(self) -> None:
        self.assertIsNotNone(self.destinations.skip('dest'))
        self.answers.set()
        patience = time.monotonic() + 60
        while self.destinations.skip('dest') is not None:
            self.assertLess(time.monotonic(), patience)
        self.assertEqual(1, self.asked)
