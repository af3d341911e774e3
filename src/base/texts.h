/* SPDX-License-Identifier: Apache-2.0 */
/* A growing list of texts that ends with NULL, such as the arguments or the environment of a program. */
#ifndef PX_BASE_TEXTS_H
#define PX_BASE_TEXTS_H

#include <stdbool.h>
#include <stddef.h>

struct px_texts {
    char **items;
    size_t count;
    bool failed; /* there was no memory */
};
void px_texts_add(struct px_texts *texts, const char *text);
void px_texts_addf(struct px_texts *texts, const char *format, ...) __attribute__((format(printf, 2, 3)));
void px_texts_sort(struct px_texts *texts);
/* Compares two items of an array of texts, for qsort() and bsearch(). */
int px_texts_compare(const void *one, const void *other);
void px_texts_done(struct px_texts *texts);

#endif
