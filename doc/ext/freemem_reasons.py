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

"""Directives for reasons: names and texts from the code, explained in a page.

One reason for a skip, as a section::

    .. freemem-reason:: same_host

       What it means, and what to do.

Link to it by ``:ref:`reason-same_host```. All reasons for the end of a
release, as a definition list::

    .. freemem-end-reasons::

       DEADLINE
           What it means, and what to do.

The build warns, and so fails, where a reason has no explanation or an
explanation has no reason.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from nova_freemem.plan import reasons
from nova_freemem.release import base as release

LOG = logging.getLogger(__name__)

REASONS = {reason.name.lower(): reason.value for reason in reasons.Reason}


class FreememReason(SphinxDirective):
    """A section about one reason."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the section.

        :raises DirectiveError: the code has no such reason
        """
        name = self.arguments[0]
        if name not in REASONS:
            raise self.error(f'nova_freemem.plan.reasons has no {name}')
        self.assert_has_content()
        _documented(self.env).setdefault(self.env.docname, set()).add(name)
        label = f'reason-{name}'
        section = nodes.section(ids=[nodes.make_id(label)], names=[label])
        self.state.document.note_explicit_target(section, section)
        section += nodes.title('', '', nodes.literal(text=name))
        section += nodes.paragraph(
            '',
            '',
            nodes.emphasis(text=f'In the log: {REASONS[name]}.'),
        )
        self.state.nested_parse(self.content, self.content_offset, section)
        return [section]


class FreememEndReasons(SphinxDirective):
    """A definition list of all reasons for the end of a release."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the list, with the texts in the place of the names.

        :raises DirectiveError: names of the page and of the code differ
        """
        self.assert_has_content()
        parsed = nodes.container()
        self.state.nested_parse(self.content, self.content_offset, parsed)
        terms = {term.astext(): term for term in parsed.findall(nodes.term)}
        differ = set(terms) ^ {reason.name for reason in release.EndReason}
        if differ:
            raise self.error(
                f'only here or only in EndReason: {", ".join(sorted(differ))}'
            )
        for reason in release.EndReason:
            term = terms[reason.name]
            term.clear()
            term += nodes.literal(text=reason.value)
        return parsed.children


def _documented(env: BuildEnvironment) -> dict[str, set[str]]:
    """Return the reasons that each page explains."""
    if not hasattr(env, 'freemem_reasons'):
        env.freemem_reasons = {}
    return env.freemem_reasons


def _forget(_app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    _documented(env).pop(docname, None)


def _merge(
    _app: Sphinx, env: BuildEnvironment, docnames: Any, other: BuildEnvironment
) -> None:
    for docname in docnames:
        if docname in _documented(other):
            _documented(env)[docname] = _documented(other)[docname]


def _check(_app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of each reason that no page explains."""
    explained = set().union(*_documented(env).values())
    for name in REASONS:
        if name not in explained:
            LOG.warning('the reason %s is not explained', name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive('freemem-reason', FreememReason)
    app.add_directive('freemem-end-reasons', FreememEndReasons)
    app.connect('env-purge-doc', _forget)
    app.connect('env-merge-info', _merge)
    app.connect('env-check-consistency', _check)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
