/* SPDX-License-Identifier: Apache-2.0 */
/* The information about sessions that is kept over a restart of the server: which sessions are live, and why others
 * ended. The text form is below. If two lines are about the same session, the later line is valid.
 *
 *   pyexec sessions 1
 *   + PRINCIPAL/ID
 *   - PRINCIPAL/ID REASON
 *
 * The text is not trusted: a line of another form is counted and ignored. */
#ifndef PX_SERVE_STATE_TABLE_H
#define PX_SERVE_STATE_TABLE_H

#include "base/buffer.h"
#include "base/json.h"

#define PX_STATE_LIVE_MAX 10000u /* live sessions, and as many ended sessions; a new one replaces the oldest */
#define PX_STATE_ENDED_MAX 10000u

/* JSON objects. The latest entry is the last one. */
struct px_state_table {
    json_t *live;  /* the keys are PRINCIPAL/ID */
    json_t *ended; /* PRINCIPAL/ID → why */
};

/* Returns 0, or -1 when there is no memory. */
int px_state_table_init(struct px_state_table *table);
void px_state_table_done(struct px_state_table *table);

/* Records that a session begins (`why` NULL) or has ended. `why` "" removes it, as if it had never existed.
 * Returns 0, or -1 when there is no memory. */
int px_state_table_note(struct px_state_table *table, const char *key, const char *why);

/* Appends the same as a line; nothing for "". */
void px_state_table_add_line(struct px_buffer *out, const char *key, const char *why);

/* Appends the whole table as text. */
void px_state_table_write(const struct px_state_table *table, struct px_buffer *out);

/* Adds the sessions of the text, and counts the lines that were ignored. Returns 0, or -1 when the first line is
 * wrong or there is no memory. */
int px_state_table_read(struct px_state_table *table, const char *bytes, size_t length, size_t *ret_bad);

#endif
