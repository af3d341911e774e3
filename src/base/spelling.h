/* SPDX-License-Identifier: Apache-2.0 */
/* Names of options, keys and modules. */
#ifndef PX_BASE_SPELLING_H
#define PX_BASE_SPELLING_H

#include <stdbool.h>
#include <stddef.h>

/* The search for the known name that a misspelt one was probably meant to be. Letters of either
 * case are alike, and so are '-' and '_'. */
struct px_spelling {
    const char *wanted;
    const char *best; /* NULL while none is near */
    size_t distance;
};

/* Offers one candidate, which must outlive the search. */
void px_spelling_offer(struct px_spelling *nearest, const char *candidate);

/* Begins or ends with two underscores: what block_dunder_imports is about. */
bool px_name_is_dunder(const char *name);

#endif
