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

"""A section of nova-compute's Guru Meditation Report.

The report is made in a signal handler, on top of whatever the main thread was
doing: nothing in here waits, takes a lock, or raises.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from oslo_reports import guru_meditation_report
from oslo_reports.models import with_default_views

TITLE = 'nova-freemem'

#: What the report shows: figures by their names, under headings.
Figures = Mapping[str, Mapping[str, object]]


def register(figures: Callable[[], Figures]) -> None:
    """Have each report show what the plugin is doing by then.

    :param figures: returns it; takes no lock
    """

    def generate() -> Any:
        try:
            shown = {
                heading: dict(values) or 'none'
                for heading, values in figures().items()
            }
        except Exception as error:  # the rest of the report is needed
            shown = {'error': repr(error)}
        return with_default_views.ModelWithDefaultViews(shown)

    guru_meditation_report.TextGuruMeditation.register_section(TITLE, generate)
