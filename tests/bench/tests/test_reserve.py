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

"""Memory that a destination has at hand."""

import mmap

from tests import base
from tests.bench import reserve


class ReserveTest(base.TestCase):
    def test_what_is_given_up_of_it_is_free(self) -> None:
        with reserve.filled(4 * mmap.PAGESIZE) as memory:
            memory.madvise(mmap.MADV_DONTNEED, 0, 2 * mmap.PAGESIZE)
            self.assertEqual(b'\0\0..', memory[:: mmap.PAGESIZE])
