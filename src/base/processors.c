/* SPDX-License-Identifier: Apache-2.0 */
#include "base/processors.h"

#include <unistd.h>

long px_processors(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count;
}

int64_t px_turns_for(int64_t max_concurrent)
{
    return max_concurrent > 0 ? max_concurrent : 2 * (int64_t)px_processors();
}
