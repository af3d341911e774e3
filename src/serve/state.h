/* SPDX-License-Identifier: Apache-2.0 */
/* What the server remembers of its former life ([serve] state_dir): which sessions a restart took away, so that
 * the next call of each is told `restarted: host_restart`.
 *
 *   executor → px_state's tables, in memory → its thread → the file (state_file.h)
 *
 * A session's beginning and end cost its thread a line in memory; one thread writes. Nothing that is wrong with
 * the folder, the file or the disk keeps the server from serving: it is logged and counted. */
#ifndef PX_SERVE_STATE_H
#define PX_SERVE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pyexec.h"

struct px_log;
struct px_state;

/* Tells the executor what the file in the folder says, and follows its sessions from now on. folder NULL: the first
 * one of STATE_DIRECTORY (systemd.exec(5)); *ret is NULL when there is none either. -1: no thread, or no memory. */
int px_state_open(const char *folder, pyexec_executor *executor, struct px_log *log, struct px_state **ret,
                  pyexec_error *error);

/* A session that ends from now on ends with the server, whatever its executor says. NULL: nothing. */
void px_state_freeze(struct px_state *state);

/* Call it before the executor is freed: it writes what is not written yet. Does nothing for NULL. */
void px_state_close(struct px_state *state);

/* Whether the session of this PRINCIPAL/ID ended with an earlier life of the server, and is not there again. */
bool px_state_was_restarted(struct px_state *state, const char *key);

struct px_state_counts {
    size_t lost;       /* sessions that were live when the server ended before */
    uint64_t failures; /* writes that failed */
    bool kept;         /* what is so now would be known after a restart */
};
/* NULL: zeros. */
void px_state_count(struct px_state *state, struct px_state_counts *ret);

#endif
