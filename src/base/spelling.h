/* SPDX-License-Identifier: Apache-2.0 */
/* Names: whether a list has one, whether Python reserves it, and which one a misspelt name was meant to be. */
#ifndef PX_BASE_SPELLING_H
#define PX_BASE_SPELLING_H

#include <stdbool.h>
#include <stddef.h>

#define PX_NODE_NAME_MAX 64u   /* bytes of the name of a node of a fleet */
#define PX_SESSION_ID_MAX 128u /* bytes of the id of a session */

/* A search for the known name that a misspelt one was probably meant to be. Upper and lower case count as
 * equal, and so do '-' and '_'. */
struct px_spelling {
    const char *wanted;
    const char *best; /* NULL until a similar name was found */
    size_t distance;
};

/* Compares one candidate. It must stay valid until the search ends. */
void px_spelling_offer(struct px_spelling *nearest, const char *candidate);

/* True if `word` is one of `words`, which spaces separate. An empty word is never listed. */
bool px_word_is_listed(const char *words, const char *word);

/* True if the word has 1 to `most` bytes, all of them letters and digits of ASCII, '-' and '_'. Such a word can be a part of a path,
 * a header or a subject of NATS. False for NULL. */
bool px_word_is_plain(const char *text, size_t most);

/* True for 1 to `most` of A-Z a-z 0-9 . _ : - but not "." or "..", which are no names in a path. Only the first `length` bytes count. */
bool px_word_is_session_id(const char *text, size_t length, size_t most);

/* True if the name is a keyword of every Python from 3.8 on; `match`, `case` and `type` can be names. */
bool px_name_is_keyword(const char *name);

/* True if the name begins or ends with two underscores; block_dunder_imports is about these. */
bool px_name_is_dunder(const char *name);

#endif
