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
 * Note for how long less memory is available than a guest is to keep: the
 * kernel's MemAvailable is read ten times a second, and the time since the
 * last look counts if it is below. The clock is the guest's own and stands
 * still while the guest is paused. What was found is in the status file.
 */

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "memory.h"

enum { LOOK_MS = 100 };

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static uint64_t available_kib(void)
{
    FILE *file = fopen("/proc/meminfo", "r");
    char line[128];
    uint64_t kib;

    if (!file)
        err(1, "cannot read /proc/meminfo");
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1) {
            fclose(file);
            return kib;
        }
    errx(1, "/proc/meminfo has no MemAvailable");
}

static void report(const char *path, double below_seconds, uint64_t least_kib)
{
    char scratch[256];

    snprintf(scratch, sizeof scratch, "%s.new", path);
    FILE *file = fopen(scratch, "w");

    if (!file)
        return;
    fprintf(file, "below_seconds %.1f\nleast_available_kib %" PRIu64 "\n",
            below_seconds, least_kib);
    fclose(file);
    rename(scratch, path);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        errx(2, "usage: headroom MIB STATUS_FILE");
    const uint64_t headroom_kib = count_argument("MIB", argv[1]) << 10;
    const struct timespec tick = {.tv_nsec = LOOK_MS * 1000000L};
    uint64_t least_kib = available_kib();
    double below_seconds = 0;

    report(argv[2], below_seconds, least_kib);
    stay();
    /* Reading it must not wait for memory itself. */
    mlockall(MCL_CURRENT | MCL_FUTURE);
    for (double last = now();;) {
        nanosleep(&tick, NULL);
        uint64_t kib = available_kib();
        double time = now();

        if (kib < headroom_kib)
            below_seconds += time - last;
        if (kib < least_kib)
            least_kib = kib;
        if (kib < headroom_kib || kib == least_kib)
            report(argv[2], below_seconds, least_kib);
        last = time;
    }
}
