/* SPDX-License-Identifier: Apache-2.0 */
#include "nats_link/subject_template.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void px_subject_template(const char *subject, char ret[PX_SUBJECT_TEMPLATE_SIZE])
{
    /* A word, and what the words after it stand for. */
    static const struct {
        const char *word, *after[2];
    } names[] = {{"as", {"{principal}", NULL}},
                 {"node", {"{node}", NULL}},
                 {"s", {"{principal}", "{session}"}},
                 {"p", {"{principal}", NULL}},
                 {"r", {"{request}", NULL}}};
    const char *const *next = NULL;
    size_t used = 0, left = 0;
    ret[0] = '\0';
    for (const char *at = subject; used < PX_SUBJECT_TEMPLATE_SIZE; at += strcspn(at, ".") + 1) {
        size_t length = strcspn(at, ".");
        bool named = left > 0 && *next;
        int n = snprintf(ret + used, PX_SUBJECT_TEMPLATE_SIZE - used, "%s%.*s", used ? "." : "",
                         named ? (int)strlen(*next) : (int)length, named ? *next : at);
        used += (size_t)n;
        left = named ? left - 1 : 0;
        next += named;
        for (size_t i = 0; !named && i < sizeof names / sizeof *names; i++)
            if (strlen(names[i].word) == length && strncmp(at, names[i].word, length) == 0) {
                next = names[i].after;
                left = 2;
            }
        if (!at[length])
            return;
    }
}
