/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of sessions from one life of the server to the next: which are live, and why others ended. As
 * text, where of two lines about a session the later one holds:
 *
 *     pyexec sessions 1
 *     + PRINCIPAL/ID
 *     - PRINCIPAL/ID REASON
 *
 * The text is read as a stranger's: a line that is not of this form is counted and left out. */
#ifndef PX_SERVE_STATE_TABLE_H
#define PX_SERVE_STATE_TABLE_H

#include "base/buffer.h"
#include "base/json.h"

#define PX_STATE_LIVE_MAX 10000u /* of each kind; the oldest one makes room */
#define PX_STATE_ENDED_MAX 10000u

/* Objects, the latest entry last. */
struct px_state_table {
    json_t *live;  /* by PRINCIPAL/ID */
    json_t *ended; /* PRINCIPAL/ID → why */
};

/* 0, or -1: out of memory. */
int px_state_table_init(struct px_state_table *table);
void px_state_table_done(struct px_state_table *table);

/* A session begins (why NULL) or has ended; why "": as if it had never been. 0, or -1: out of memory. */
int px_state_table_note(struct px_state_table *table, const char *key, const char *why);

/* The same as a line; nothing for "". */
void px_state_table_add_line(struct px_buffer *out, const char *key, const char *why);

/* All of it as text. */
void px_state_table_write(const struct px_state_table *table, struct px_buffer *out);

/* Notes what the text says, and how many lines were left out. -1: its first line is another one, or out of memory. */
int px_state_table_read(struct px_state_table *table, const char *bytes, size_t length, size_t *ret_bad);

#endif
