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

"""Draws two observed migrations over one time axis."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import pathlib
from typing import BinaryIO

from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure

from tests.lab.observation import Observation
from tests.lab.observation import Phases
from tests.lab.observation import Sample

# Told apart by people who see no red and green, and in grey.
_PHASE_COLOURS = {
    'release': '#e69f00',
    'transfer': '#777777',
    'restore': '#56b4e9',
}
_WITHOUT_COLOUR, _WITH_COLOUR = '#b23b00', '#0056a6'

_LEAD_SECONDS = 1.0  # Shown of the time before; and after.
_KIB_PER_GIB = 1 << 20

Points = list[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Track:
    """One migration to draw.

    :param name: what it is called in the picture.
    """

    name: str
    colour: str
    observation: Observation
    phases: Phases

    def of_guest(self, pick: Callable[[Sample], float | None]) -> Points:
        """Read a figure of the guest over time, wherever it is."""
        at_source = [
            seen
            for seen in self.observation.source
            if seen.at_seconds < self.phases.landed
        ]
        return self._points([*at_source, *self.observation.destination], pick)

    def sent_gb(self) -> Points:
        """Read what the source has sent over time."""
        counts = self._points(
            self.observation.source, lambda seen: seen.sent_bytes
        )
        _, first = counts[0]
        return [(at, (count - first) / 1e9) for at, count in counts]

    def _points(
        self,
        samples: Sequence[Sample],
        pick: Callable[[Sample], float | None],
    ) -> Points:
        return [
            (seen.at_seconds - self.phases.started, value)
            for seen in samples
            if (value := pick(seen)) is not None
        ]


def draw(
    without: tuple[Observation, Phases],
    with_plugin: tuple[Observation, Phases],
    title: str,
    file: pathlib.Path | BinaryIO,
) -> None:
    """Draw phases, balloon, RSS and bytes sent of two migrations.

    :param without: the one with the plugin disabled.
    :param with_plugin: the one with the plugin enabled.
    :param title: what the two are of.
    :param file: where the PNG goes.
    """
    tracks = [
        Track('without plugin', _WITHOUT_COLOUR, *without),
        Track('with plugin', _WITH_COLOUR, *with_plugin),
    ]
    figure = mpl_figure.Figure(figsize=(9, 10), layout='constrained')
    figure.suptitle(title, fontweight='bold')
    panels = figure.subplots(
        4, 1, sharex=True, height_ratios=[0.8, 1.0, 1.0, 1.0]
    )
    _draw_phases(panels[0], tracks)
    for panel, heading, read in (
        (
            panels[1],
            'Memory the balloon leaves the guest, GiB',
            lambda track: track.of_guest(_balloon_gib),
        ),
        (
            panels[2],
            'Resident size (RSS) of its QEMU, GiB',
            lambda track: track.of_guest(_rss_gib),
        ),
        (panels[3], 'Sent over the link, GB', Track.sent_gb),
    ):
        panel.set_title(heading, loc='left', fontsize='medium')
        for track in tracks:
            _draw_line(panel, track, read(track))
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    end = max(_last_seconds(track) for track in tracks)
    panels[-1].set_xlim(-_LEAD_SECONDS, end + _LEAD_SECONDS)
    panels[-1].set_xlabel(
        'seconds since the release or, without one, the transfer began;'
        ' dotted: the guest runs at the destination'
    )
    _explain(figure, panels[0], panels[-1])
    figure.savefig(file, dpi=110, format='png')


def _balloon_gib(seen: Sample) -> float | None:
    return seen.balloon_kib and seen.balloon_kib / _KIB_PER_GIB


def _rss_gib(seen: Sample) -> float | None:
    return seen.rss_kib and seen.rss_kib / _KIB_PER_GIB


def _last_seconds(track: Track) -> float:
    last = max(track.phases.landed, track.phases.restored or 0.0)
    return last - track.phases.started


def _draw_phases(panel: mpl_axes.Axes, tracks: list[Track]) -> None:
    """Draw each run's phases as a bar of its own."""
    for row, track in enumerate(tracks):
        found = track.phases
        for name, began, ended in (
            ('release', found.release_started, found.release_ended),
            ('transfer', found.transfer_started, found.landed),
            ('restore', found.landed, found.restored),
        ):
            if began is None or ended is None or ended <= began:
                continue
            panel.barh(
                row,
                ended - began,
                left=began - found.started,
                height=0.5,
                color=_PHASE_COLOURS[name],
            )
        panel.text(
            found.total_seconds / 2,
            row - 0.3,
            f'{track.name}: {found.total_seconds:.1f} s,'
            f' {track.observation.sent_bytes / 1e9:.2f} GB',
            color=track.colour,
            va='bottom',
            ha='center',
        )
    for name, colour in _PHASE_COLOURS.items():
        panel.barh(0, 0, color=colour, label=name)
    panel.set_ylim(len(tracks) - 0.6, -0.75)
    panel.set_yticks([])


def _explain(figure: mpl_figure.Figure, *panels: mpl_axes.Axes) -> None:
    """Add the legend of what some panels show, off all panels."""
    handles = [
        handle
        for panel in panels
        for handle in panel.get_legend_handles_labels()[0]
    ]
    figure.legend(
        handles=handles, loc='outside lower center', ncols=len(handles)
    )


def _draw_line(panel: mpl_axes.Axes, track: Track, points: Points) -> None:
    """Draw one figure of a migration over time."""
    panel.plot(
        [seconds for seconds, _ in points],
        [value for _, value in points],
        color=track.colour,
        label=track.name,
    )
    landed = track.phases.total_seconds
    panel.axvline(landed, color=track.colour, linestyle=':', linewidth=1)
