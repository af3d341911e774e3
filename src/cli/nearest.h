/* The known name nearest to a misspelt one. */
#ifndef PX_CLI_NEAREST_H
#define PX_CLI_NEAREST_H

#include <stddef.h>

struct cli_nearest {
    const char *wanted;
    const char *best;       /* NULL while none is near */
    size_t distance;
};

/* Offers one candidate, which must outlive the search. '-' and '_' are alike. */
void cli_nearest_offer(struct cli_nearest *nearest, const char *candidate);

#endif
