#!/usr/bin/env bash
#
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
#
# Install what the tests need and run them.
#
#   tools/test.sh [SUITE...]
#
# Without an argument: every suite but tempest as root, otherwise those that do
# not need root. The last line counts the tests: "N passed, N failed[, N
# skipped]".
# Exit code 1: a test failed, or none ran. Exit code 2: refused, with one line
# that says why, before anything was changed.

set -euo pipefail

# shellcheck source=tools/install.sh
source "$(dirname "${BASH_SOURCE[0]}")/install.sh"

# lab, bench, guests, chaos, fuzz and novas are the tests of these harnesses,
# tests/*/tests.
rootless_suites=(unit simulation lab bench guests chaos fuzz novas gate
    functional)
root_suites=(libvirt cloud)
# It takes as long as the others together, and is run where it is named.
named_suites=(tempest)
usual_suites=("${rootless_suites[@]}" "${root_suites[@]}")
all_suites=("${usual_suites[@]}" "${named_suites[@]}")

is_one_of() { [[ " ${*:2} " == *" $1 "* ]]; }

# The suites to run, the quick ones first, each once.
choose_suites() {
    local name suite
    for name in "$@"; do
        if [[ $name == -h || $name == --help ]]; then
            printf 'usage: tools/test.sh [SUITE...]\nsuites: %s\n' \
                "${all_suites[*]}"
            exit 0
        fi
        is_one_of "$name" "${all_suites[@]}" || refuse \
            "no such suite: '$name'; the suites are ${all_suites[*]}"
    done
    if [[ $# -eq 0 && $EUID -eq 0 ]]; then
        suites=("${usual_suites[@]}")
    elif [[ $# -eq 0 ]]; then
        suites=("${rootless_suites[@]}")
        say "not run without root: ${root_suites[*]} (sudo tools/test.sh)"
    else
        for suite in "${all_suites[@]}"; do
            if is_one_of "$suite" "$@"; then suites+=("$suite"); fi
        done
    fi
}

# A machine that cannot run the lab is refused before anything is installed.
check_machine() {
    local suite chosen=()
    for suite in "${root_suites[@]}" "${named_suites[@]}"; do
        if is_one_of "$suite" "${suites[@]}"; then chosen+=("$suite"); fi
    done
    [[ ${#chosen[@]} -gt 0 ]] || return 0
    [[ $EUID -eq 0 ]] || refuse \
        "${chosen[*]}: these tests need root (sudo tools/test.sh ${chosen[*]})"
    what=lab
    preflight lab test "${chosen[@]}"
}

# Guests under TCG and their daemons need the whole machine; two cores run two
# whole Novas at a time.
concurrency() {
    case $1 in
    libvirt | cloud) printf '%s\n' --serial ;;
    functional) printf '%s\n' --concurrency=2 ;;
    *) ;;
    esac
}

show_ends() {
    local file
    for file in "$@"; do
        [[ -s $file ]] || continue
        printf '\n----- the end of %s\n' "$file"
        tail -n 30 "$file"
    done
}

# Read the figures of a suite's last run by stestr.
count_stestr() {
    local run
    run=$("${stestr[@]}" last --subunit 2>/dev/null | subunit-stats || true)
    p=$(sed -nE 's/^Passed tests: +([0-9]+)/\1/p' <<<"$run")
    f=$(sed -nE 's/^Failed tests: +([0-9]+)/\1/p' <<<"$run")
    s=$(sed -nE 's/^Skipped tests: +([0-9]+)/\1/p' <<<"$run")
}

# Add the figures of a suite to those of all.
count() {
    local suite=$1 status=$2 seconds=$3 p=$4 f=$5 s=$6
    # A suite that ended early has failed, whatever it counted.
    if [[ $status -ne 0 && ${f:-0} -eq 0 ]]; then
        f=1
    fi
    passed=$((passed + ${p:-0}))
    failed=$((failed + ${f:-0}))
    skipped=$((skipped + ${s:-0}))
    summary+=$(printf '%-12s %5d s %5d passed %3d failed %3d skipped' \
        "$suite" "$seconds" "${p:-0}" "${f:-0}" "${s:-0}")$'\n'
}

# What the tests' processes write to standard error is kept for a failure:
# warnings of libraries, and the logs of what they start.
run_suite() {
    local suite=$1 folder=$1 started=$SECONDS status=0 options p f s
    local noise=$results/$suite.stderr
    local lab=${NOVA_FREEMEM_LAB:-/var/lib/nova-freemem-lab}
    mapfile -t options < <(concurrency "$suite")
    printf '\n===== %s\n' "$suite"
    stestr=(stestr --repo-url "$results/$suite")
    mkdir "$results/$suite"
    [[ ! -d tests/$suite/tests ]] || folder=$suite/tests
    TEST_SUITE=$folder "${stestr[@]}" run --suppress-attachments \
        "${options[@]}" 2>"$noise" || status=$?
    if [[ $status -ne 0 ]]; then
        show_ends "$noise"
        if is_one_of "$suite" "${root_suites[@]}"; then
            show_ends "$lab"/log/*.log
        fi
        "${stestr[@]}" last --suppress-attachments --no-subunit-trace \
            >"$results/$suite.failures" 2>/dev/null || true
    fi
    count_stestr
    count "$suite" "$status" $((SECONDS - started)) "$p" "$f" "$s"
}

# Tempest runs in an environment of its own, and is told to by python -m
# tests.tempest, whose last line has the figures.
run_tempest() {
    local started=$SECONDS status=0 python output=$results/tempest.output
    local counts p f s
    local figures='^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$'
    printf '\n===== tempest\n'
    python=$(install_main tempest)/bin/python
    PYTHONPATH=$root python -P -m tests.tempest "$python" \
        | tee "$output" || status=$?
    counts=$(tail -n 1 "$output" | sed -nE "s/$figures/\1 \2 \3/p")
    read -r p f s <<<"$counts"
    count tempest "$status" $((SECONDS - started)) "$p" "$f" "$s"
}

# Failures come last, below all logs, where the end of the output shows them.
show_failures() {
    local file
    for file in "$results"/*.failures; do
        [[ -s $file ]] || continue
        printf '\n----- what failed in %s\n' "$(basename "$file" .failures)"
        tail -n 80 "$file" | cut -c 1-500
    done
}

main() {
    local suites=() what=venv venv suite
    local passed=0 failed=0 skipped=0 summary='' skips='' stestr
    choose_suites "$@"
    check_machine
    venv=$(install_main "$what")
    export PATH=$venv/bin:$PATH
    results=$(mktemp -d)
    trap 'rm -rf "$results"' EXIT
    cd "$root"
    for suite in "${suites[@]}"; do
        if [[ $suite == tempest ]]; then
            run_tempest
        else
            run_suite "$suite"
        fi
    done
    show_failures
    printf '\n%s' "$summary"
    [[ $skipped -eq 0 ]] || skips=", $skipped skipped"
    printf '%d passed, %d failed%s\n' "$passed" "$failed" "$skips"
    [[ $failed -eq 0 && $passed -gt 0 ]]
}

main "$@"
