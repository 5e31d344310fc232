/*
 * Licensed under the Apache License, Version 2.0 (the "License"); you may
 * not use this file except in compliance with the License. You may obtain
 * a copy of the License at
 *
 *      http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
 * WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
 * License for the specific language governing permissions and limitations
 * under the License.
 */

/*
 * Hold memory and find out whether anything changes it.
 *
 * Every word of every page says which page it is and how often the page has
 * been rewritten. One half of the pages never changes: a checksum over it is
 * the same for ever. The other half is rewritten page by page, in random
 * order and at a steady rate, each page being verified first, so that a
 * migration always has pages to send again. SIGUSR1 asks for a sweep: every
 * page verified, and the checksum. What was found is in the status file.
 *
 * SIGUSR2 has it take more memory from then on, up to GROWN_MIB, which was
 * free until then: a migration that still takes it for free would lose it.
 */

#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "memory.h"

enum { TICK_MS = 20, GROWN_PAGES_PER_TICK = 512 };

static uint64_t *memory;
static uint32_t *rewrites; /* of each page */
static size_t pages, first_pages, grown_pages;
static const char *status_path;

static uint64_t verified, mismatches, sweeps, checksum, rewritten;
static volatile sig_atomic_t sweep_wanted, growth_wanted;

/* Steele, Lea, Flood: "Fast splittable pseudorandom number generators". */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t first_word(size_t page)
{
    return mix(((uint64_t)page << 32 | rewrites[page]) + 1);
}

static void write_page(size_t page)
{
    uint64_t *word = memory + page * PAGE_WORDS;
    uint64_t value = first_word(page);

    for (int i = 0; i < PAGE_WORDS; i++)
        word[i] = value + i;
}

static void verify_page(size_t page)
{
    const uint64_t *word = memory + page * PAGE_WORDS;
    uint64_t value = first_word(page);
    int right = 1;

    for (int i = 0; i < PAGE_WORDS; i++)
        right &= word[i] == value + i;
    verified++;
    mismatches += !right;
}

static void rewrite_random_page(void)
{
    static uint64_t random_state;
    size_t half = first_pages / 2;
    size_t page = half + mix(random_state += 0x9e3779b97f4a7c15u) % half;

    verify_page(page);
    rewrites[page]++;
    write_page(page);
    rewritten++;
}

static void sweep(void)
{
    uint64_t sum = 0;

    for (size_t page = 0; page < pages; page++)
        verify_page(page);
    for (size_t i = 0; i < first_pages / 2 * PAGE_WORDS; i++)
        sum = (sum ^ memory[i]) * 0x100000001b3u;
    checksum = sum;
    sweeps++;
}

static void report(void)
{
    char path[256];

    snprintf(path, sizeof path, "%s.new", status_path);
    FILE *file = fopen(path, "w");

    if (!file)
        return;
    fprintf(file, "pages %zu\nrewritten %ju\nverified %ju\n", pages,
            (uintmax_t)rewritten, (uintmax_t)verified);
    fprintf(file, "mismatches %ju\nsweeps %ju\nchecksum %ju\n",
            (uintmax_t)mismatches, (uintmax_t)sweeps, (uintmax_t)checksum);
    fclose(file);
    rename(path, status_path);
}

static void want_sweep(int number)
{
    (void)number;
    sweep_wanted = 1;
}

static void want_growth(int number)
{
    (void)number;
    growth_wanted = 1;
}

static void grow(void)
{
    for (int i = 0; i < GROWN_PAGES_PER_TICK && pages < grown_pages; i++)
        write_page(pages++);
}

static void hold_for_ever(size_t pages_per_second)
{
    const struct timespec tick = {.tv_nsec = TICK_MS * 1000000L};
    size_t ticks = 0, due = 0;

    for (;; ticks++) {
        nanosleep(&tick, NULL);
        for (due += pages_per_second * TICK_MS; due >= 1000; due -= 1000)
            rewrite_random_page();
        if (growth_wanted)
            grow();
        if (sweep_wanted) {
            sweep_wanted = 0;
            sweep();
            report();
        } else if (ticks % (1000 / TICK_MS) == 0) {
            report();
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5)
        errx(2, "usage: hold MIB PAGES_PER_SECOND STATUS_FILE [GROWN_MIB]");
    pages = (count_argument("MIB", argv[1]) << 20) / PAGE_BYTES;
    first_pages = grown_pages = pages;
    if (argc == 5)
        grown_pages = (count_argument("GROWN_MIB", argv[4]) << 20) / PAGE_BYTES;
    if (grown_pages < first_pages)
        errx(2, "GROWN_MIB: less than MIB");
    size_t pages_per_second = count_argument("PAGES_PER_SECOND", argv[2]);

    status_path = argv[3];
    memory = (uint64_t *)map_memory(grown_pages * PAGE_BYTES);
    rewrites = calloc(grown_pages, sizeof *rewrites);
    if (!rewrites)
        err(1, "no memory to hold memory");
    for (size_t page = 0; page < pages; page++)
        write_page(page);
    signal(SIGUSR1, want_sweep);
    signal(SIGUSR2, want_growth);
    sweep();
    report();
    stay();
    hold_for_ever(pages_per_second);
}
