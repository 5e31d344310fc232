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

"""Requests to a release that is under way."""

import threading

from nova_freemem.release.requests import Request
from nova_freemem.release.requests import Requests
from tests import base


class RequestsTest(base.TestCase):
    def test_there_was_no_request(self) -> None:
        self.assertIsNone(Requests().close())

    def test_a_request_arrives(self) -> None:
        requests = Requests()
        self.assertTrue(requests.submit(Request.FORCE_COMPLETE))
        self.assertTrue(requests.arrived.is_set())
        self.assertEqual(Request.FORCE_COMPLETE, requests.close())

    def test_one_outranks_another_whoever_was_first(self) -> None:
        for counts, other in (
            (Request.ABORT, Request.FORCE_COMPLETE),
            (Request.ABORT, Request.SHUTDOWN),
            (Request.SHUTDOWN, Request.FORCE_COMPLETE),
            (Request.SHUTDOWN, Request.TRANSFER_ENDED),
        ):
            for given in ((counts, other), (other, counts)):
                requests = Requests()
                for request in given:
                    self.assertTrue(requests.submit(request))
                self.assertEqual(counts, requests.close())

    def test_a_request_is_taken_once(self) -> None:
        requests = Requests()
        requests.submit(Request.ABORT)
        self.assertEqual(
            [Request.ABORT, None], [requests.close(), requests.close()]
        )

    def test_a_request_that_comes_late_is_for_the_transfer(self) -> None:
        requests = Requests()
        requests.close()
        self.assertFalse(requests.submit(Request.ABORT))
        self.assertIsNone(requests.latest)
        self.assertFalse(requests.arrived.is_set())

    def test_a_request_is_either_obeyed_or_refused_never_lost(self) -> None:
        for _attempt in range(50):
            requests, taken = Requests(), []
            thread = threading.Thread(
                target=lambda requests=requests, taken=taken: taken.append(
                    requests.submit(Request.ABORT)
                )
            )
            thread.start()
            obeyed = requests.close() is Request.ABORT
            thread.join()
            self.assertEqual([obeyed], taken)
