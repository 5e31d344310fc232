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

"""What the operator wrote, and what flavor and image say, as one policy."""

import dataclasses

import hypothesis
from hypothesis import strategies as st
from nova import exception as nova_exception
from nova.api.validation.extra_specs import validators

from nova_freemem import conf as freemem_conf
from nova_freemem import exceptions
from nova_freemem import policy
from tests import base
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB


class PolicyTest(base.ConfTestCase):
    def read(self, text: str) -> policy.Policy:
        return policy.Policy.from_conf(self.registered(f'[freemem]\n{text}\n'))

    def problem(self, text: str) -> str:
        return str(
            self.assertRaises(exceptions.ConfigInvalid, self.read, text)
        )

    def test_defaults(self) -> None:
        self.assertEqual(fakes.make_policy(enabled=False), self.read(''))

    def test_every_option_arrives(self) -> None:
        self.assertEqual(
            policy.Policy(
                True,
                True,
                ('balloon_stats',),
                ('first', 'other'),
                'before',
                'free',
                10,
                64,
                2048,
                25000,
                1,
                2,
                3,
                30,
                1,
                False,
                '/var/lib/nova_freemem.prom',
            ),
            self.read(
                'enabled = true\ndry_run = true\n'
                'acquire = balloon_stats\nrelease = first, other\n'
                'mode = before\nreclaim = free\n'
                'headroom_percent = 10\nheadroom_min_mib = 64\n'
                'headroom_windows_mib = 2048\n'
                'migration_bandwidth_mbps = 25000\n'
                'min_saving_mib = 1\nagent_timeout_seconds = 2\n'
                'deadline_seconds = 3\n'
                'reconcile_interval_seconds = 30\nrestore_workers = 1\n'
                'require_destination_trait = false\n'
                'metrics_file = /var/lib/nova_freemem.prom'
            ),
        )

    def test_a_file_that_prometheus_would_not_see_is_refused(self) -> None:
        for path in ('nova_freemem.prom', '/var/lib/nova_freemem.txt', ''):
            self.assertEqual(
                f'[freemem] metrics_file: {path!r} is not an absolute path '
                'that ends in .prom',
                self.problem(f'metrics_file = {path}'),
            )

    def test_a_wrong_value_is_named_with_its_option_and_bounds(self) -> None:
        for option, low, high in (
            ('headroom_percent', 1, 90),
            ('headroom_min_mib', 32, 1048576),
            ('headroom_windows_mib', 32, 1048576),
            ('migration_bandwidth_mbps', 0, 1000000),
            ('min_saving_mib', 1, 1048576),
            ('agent_timeout_seconds', 1, 60),
            ('deadline_seconds', 2, 3600),
            ('reconcile_interval_seconds', 5, 3600),
            ('restore_workers', 1, 64),
        ):
            for value in (
                str(low - 1),
                str(high + 1),
                'some',
                '1.5',
                '',
                '9' * 5000,
            ):
                self.assertEqual(
                    f'[freemem] {option}: {value[:40]!r} is not a whole '
                    f'number from {low} to {high}',
                    self.problem(f'{option} = {value}'),
                )

    def test_the_bounds_themselves_are_allowed(self) -> None:
        for value in (1, 90):
            self.assertEqual(
                value,
                self.read(f'headroom_percent = {value}').headroom_percent,
            )

    def test_a_value_that_is_not_a_choice(self) -> None:
        for option in ('mode', 'reclaim'):
            for value in ('always', ''):
                self.assertRegex(
                    self.problem(f'{option} = {value}'),
                    rf'^\[freemem\] {option}: Valid values are \[.*\], but '
                    f"found '{value}'$",
                )

    def test_options_that_contradict_each_other(self) -> None:
        self.assertEqual(
            '[freemem] agent_timeout_seconds: 5 must be below '
            'deadline_seconds, which is 4',
            self.problem('deadline_seconds = 4'),
        )

    def test_acquire_must_name_a_source(self) -> None:
        self.assertEqual(
            '[freemem] acquire: must name at least one source',
            self.problem('acquire ='),
        )

    def test_enabled_is_true_or_false(self) -> None:
        for text, enabled in (
            ('', False),
            ('enabled = true', True),
            ('enabled = false', False),
        ):
            self.assertEqual(enabled, self.read(text).enabled)
        problem = self.problem('enabled = maybe')
        self.assertIn('enabled', problem)
        self.assertIn('maybe', problem)

    def test_a_value_that_refers_to_no_option(self) -> None:
        self.assertEqual(
            '[freemem] mode: cannot be read: no such option fastest in group '
            '[DEFAULT]',
            self.problem('mode = $fastest'),
        )

    def test_changes_are_told_option_by_option(self) -> None:
        before = self.read('')
        self.assertEqual('', before.changes(before))
        self.assertEqual(
            'enabled: False -> True, headroom_percent: 12 -> 7',
            self.read('enabled = true\nheadroom_percent = 7').changes(before),
        )

    def test_headroom_is_a_share_but_never_below_the_floor(self) -> None:
        headroom = fakes.make_policy(
            headroom_percent=10, headroom_min_mib=128
        ).headroom_kib
        self.assertEqual(GIB // 2, headroom(5 * GIB))
        self.assertEqual(128 * MIB, headroom(1 * GIB))
        self.assertEqual(128 * MIB, headroom(0))

    def test_windows_keeps_more(self) -> None:
        headroom = fakes.make_policy(
            headroom_percent=5, headroom_windows_mib=1024
        ).headroom_kib
        self.assertEqual(1 * GIB, headroom(4 * GIB, windows=True))
        self.assertEqual(2 * GIB, headroom(40 * GIB, windows=True))

    def test_windows_never_keeps_less(self) -> None:
        headroom = fakes.make_policy(
            headroom_min_mib=512, headroom_windows_mib=64
        ).headroom_kib
        self.assertEqual(512 * MIB, headroom(1 * GIB, windows=True))


OPTIONS = {option.dest: option for option in freemem_conf.OPTIONS}

# What each setting may be; what it must not be is made of anything.
VALUES = {
    'enabled': st.booleans(),
    'dry_run': st.booleans(),
    'mode': st.sampled_from(['auto', 'before', 'during']),
    'reclaim': st.sampled_from(['free', 'cold', 'available']),
    'headroom_percent': st.integers(1, 90),
    'headroom_min_mib': st.integers(32, 1024 * 1024),
    'deadline_seconds': st.integers(2, 3600),
}

RECLAIMS = ['free', 'cold', 'available']  # from careful to careless

hosts = st.fixed_dictionaries(VALUES).map(
    lambda values: fakes.make_policy(**values)
)


def settings(*names: str) -> st.SearchStrategy[dict[str, object]]:
    """:returns: any of some settings, each valid."""
    return st.fixed_dictionaries(
        {}, optional={name: VALUES[name] for name in names}
    )


def of_flavor(values: dict[str, object]) -> dict[str, str]:
    """:returns: the extra specs of a flavor."""
    return {f'freemem:{name}': str(value) for name, value in values.items()}


def of_image(values: dict[str, object]) -> dict[str, str]:
    """:returns: what Nova keeps of the properties of an image."""
    return {
        f'image_freemem_{name}': str(value) for name, value in values.items()
    }


def releases(guest: policy.Policy) -> bool:
    """:returns: whether memory may be released at all."""
    return guest.enabled and guest.enabled_by_flavor and guest.enabled_by_image


class GuestsPolicyTest(base.TestCase):
    @hypothesis.given(hosts)
    def test_a_guest_of_whom_nobody_says_anything_has_the_hosts(
        self, host: policy.Policy
    ) -> None:
        other = {'hw:mem_page_size': 'any', 'free': 'mem'}
        self.assertEqual((host, []), host.for_guest({}, {}))
        self.assertEqual(
            (host, []),
            host.for_guest(other, {'image_hw_machine_type': 'pc'}),
        )

    @hypothesis.given(
        hosts,
        settings(*policy.FLAVOR_SETTINGS),
        settings(*policy.IMAGE_SETTINGS),
    )
    def test_nobody_enables_what_the_host_has_disabled(
        self,
        host: policy.Policy,
        flavor: dict[str, object],
        image: dict[str, object],
    ) -> None:
        host = dataclasses.replace(host, enabled=False)
        self.assertEqual(
            (host, []), host.for_guest(of_flavor(flavor), of_image(image))
        )

    @hypothesis.given(hosts, settings(*policy.FLAVOR_SETTINGS))
    def test_a_flavor_decides_within_what_the_host_permits(
        self, host: policy.Policy, flavor: dict[str, object]
    ) -> None:
        host = dataclasses.replace(host, enabled=True)
        guest, wrong = host.for_guest(of_flavor(flavor), {})
        self.assertEqual([], wrong)
        for name in ('mode', 'reclaim', 'headroom_percent'):
            self.assertEqual(
                flavor.get(name, getattr(host, name)), getattr(guest, name)
            )
        self.assertEqual(
            flavor.get('headroom_min_mib', host.headroom_min_mib),
            guest.headroom_min_mib,
        )
        self.assertEqual(flavor.get('enabled', True), releases(guest))
        self.assertEqual(
            host.dry_run or flavor.get('dry_run', False), guest.dry_run
        )
        self.assertLessEqual(guest.deadline_seconds, host.deadline_seconds)
        if 'deadline_seconds' in flavor:
            self.assertLessEqual(
                guest.deadline_seconds, flavor['deadline_seconds']
            )

    @hypothesis.given(
        hosts,
        settings(*policy.FLAVOR_SETTINGS),
        st.dictionaries(
            st.sampled_from([f'image_freemem_{name}' for name in VALUES]),
            st.one_of(
                st.none(),
                st.text(max_size=255),
                *(one.map(str) for one in VALUES.values()),
            ),
        ),
    )
    def test_an_image_is_only_ever_more_careful(
        self,
        host: policy.Policy,
        flavor: dict[str, object],
        image: dict[str, str | None],
    ) -> None:
        before, _wrong = host.for_guest(of_flavor(flavor), {})
        after, _wrong = host.for_guest(of_flavor(flavor), image)
        self.assertLessEqual(releases(after), releases(before))
        self.assertLessEqual(
            RECLAIMS.index(after.reclaim), RECLAIMS.index(before.reclaim)
        )
        self.assertGreaterEqual(
            after.headroom_percent, before.headroom_percent
        )
        self.assertGreaterEqual(
            after.headroom_min_mib, before.headroom_min_mib
        )
        self.assertLessEqual(after.deadline_seconds, before.deadline_seconds)
        for field in dataclasses.fields(policy.Policy):
            if field.name not in (*policy.IMAGE_SETTINGS, 'enabled_by_image'):
                self.assertEqual(
                    getattr(before, field.name), getattr(after, field.name)
                )

    @hypothesis.given(hosts, settings(*policy.IMAGE_SETTINGS))
    def test_an_image_that_is_more_careful_is_followed(
        self, host: policy.Policy, image: dict[str, object]
    ) -> None:
        host = dataclasses.replace(
            host,
            enabled=True,
            reclaim='available',
            headroom_percent=1,
            headroom_min_mib=32,
            deadline_seconds=3600,
        )
        guest, wrong = host.for_guest({}, of_image(image))
        self.assertEqual([], wrong)
        self.assertEqual(image.get('enabled', True), guest.enabled_by_image)
        for name in policy.IMAGE_SETTINGS:
            if name != 'enabled':
                self.assertEqual(
                    image.get(name, getattr(host, name)), getattr(guest, name)
                )

    @hypothesis.given(
        hosts,
        st.dictionaries(
            st.sampled_from([f'freemem:{name}' for name in VALUES]),
            st.one_of(st.none(), st.text(max_size=255)),
        ),
    )
    def test_whatever_a_flavor_says_the_policy_is_valid(
        self, host: policy.Policy, flavor: dict[str, str | None]
    ) -> None:
        host = dataclasses.replace(host, enabled=True)
        guest, wrong = host.for_guest(flavor, {})
        for name in policy.FLAVOR_SETTINGS:
            OPTIONS[name].type(getattr(guest, name))
        for one in wrong:
            name = one.key.removeprefix('freemem:')
            if name != 'enabled':
                self.assertEqual(getattr(host, name), getattr(guest, name))

    @hypothesis.given(
        st.sampled_from(policy.FLAVOR_SETTINGS),
        st.one_of(
            st.text(max_size=20),
            st.sampled_from(
                ['yes', ' T ', 'OFF', '0', '2', 'Auto', ' cold', '١٢', '1_0']
            ),
            st.integers(-5, 2 * 1024 * 1024).map(str),
        ),
    )
    def test_what_nova_api_accepts_is_what_is_not_ignored(
        self, name: str, value: str
    ) -> None:
        key = f'freemem:{name}'
        try:
            validators.validate(key, value)
            accepted = True
        except nova_exception.ValidationError:
            accepted = False
        _guest, wrong = fakes.make_policy().for_guest({key: value}, {})
        self.assertEqual(accepted, not wrong)

    def test_who_says_no_is_known(self) -> None:
        host = fakes.make_policy()
        guest, _wrong = host.for_guest({'freemem:enabled': 'no'}, {})
        self.assertEqual(
            (True, False, True),
            (
                guest.enabled,
                guest.enabled_by_flavor,
                guest.enabled_by_image,
            ),
        )
        guest, _wrong = host.for_guest({}, {'image_freemem_enabled': 'no'})
        self.assertEqual(
            (True, True, False),
            (
                guest.enabled,
                guest.enabled_by_flavor,
                guest.enabled_by_image,
            ),
        )

    def test_what_is_ignored_is_named_with_what_is_valid(self) -> None:
        guest, wrong = fakes.make_policy().for_guest(
            {
                'freemem:enabled': 'perhaps',
                'freemem:headroom': '5',
                'freemem:headroom_percent': '150',
                'freemem:mode': None,
            },
            {
                'image_freemem_deadline_seconds': 'soon',
                'image_freemem_mode': 'before',
                'image_freemem_reclaim': 'swap',
            },
        )
        self.assertEqual(fakes.make_policy(), guest)
        self.assertEqual(
            [
                ('freemem:enabled', 'flavor', 'perhaps', 'true or false'),
                (
                    'freemem:headroom',
                    'flavor',
                    '5',
                    'freemem:enabled, freemem:dry_run, freemem:mode, '
                    'freemem:reclaim, '
                    'freemem:headroom_percent, freemem:headroom_min_mib, '
                    'freemem:deadline_seconds',
                ),
                (
                    'freemem:headroom_percent',
                    'flavor',
                    '150',
                    'a whole number from 1 to 90',
                ),
                ('freemem:mode', 'flavor', 'None', 'auto, before, during'),
                (
                    'freemem_deadline_seconds',
                    'image',
                    'soon',
                    'a whole number from 2 to 3600',
                ),
                ('freemem_reclaim', 'image', 'swap', 'free, cold, available'),
            ],
            [dataclasses.astuple(one) for one in wrong],
        )
