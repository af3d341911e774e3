/* SPDX-License-Identifier: Apache-2.0 */
/* How many CPUs there are, and how many runs use them at once. */
#ifndef PX_BASE_PROCESSORS_H
#define PX_BASE_PROCESSORS_H

#include <stdint.h>

/* At least 1, also when the system does not say it. */
long px_processors(void);

/* How many runs may use the CPUs at once, for this max_concurrent of the configuration; 0: twice the number of CPUs. */
int64_t px_turns_for(int64_t max_concurrent);

#endif
