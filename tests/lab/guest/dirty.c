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

/* Write to memory, then free it by ending, or keep it. */

#include <string.h>

#include "memory.h"

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[2], "keep") != 0))
        errx(2, "usage: dirty MIB [keep]");

    size_t bytes = count_argument("MIB", argv[1]) << 20;

    touch_pages(map_memory(bytes), bytes, 0);
    if (argc == 3) {
        stay();
        pause();
    }
    return 0;
}
