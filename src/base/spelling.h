/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the names of options, keys and modules that somebody misspelt. */
#ifndef PX_BASE_SPELLING_H
#define PX_BASE_SPELLING_H

#include <stdbool.h>
#include <stddef.h>

/* A search for the known name that a misspelt one was probably meant to be. Upper and lower case count as
 * equal, and so do '-' and '_'. */
struct px_spelling {
    const char *wanted;
    const char *best; /* NULL until a similar name was found */
    size_t distance;
};

/* Compares one candidate. It must stay valid until the search ends. */
void px_spelling_offer(struct px_spelling *nearest, const char *candidate);

/* True if the name begins or ends with two underscores; block_dunder_imports is about these. */
bool px_name_is_dunder(const char *name);

#endif
