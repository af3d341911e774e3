/* SPDX-License-Identifier: Apache-2.0 */
/* The information that the server keeps over a restart ([serve] state_dir): which sessions the restart has ended, so that the
 * next call to each of them gets `restarted: host_restart`.
 *
 *   executor → tables of px_state, in memory → its thread → the file (state_file.h)
 *
 * When a session begins or ends, its thread only adds a line in memory; one other thread writes. An error of the
 * folder, the file or the disk never stops the server: it is logged and counted. */
#ifndef PX_SERVE_STATE_H
#define PX_SERVE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pyexec.h"

struct px_log;
struct px_state;

/* Tells the executor about the sessions in the folder's file, and records its sessions from now on. `folder` NULL:
 * the first folder of STATE_DIRECTORY (systemd.exec(5)); when there is none either, *ret is NULL. Returns 0, or -1
 * when there is no thread or no memory. */
int px_state_open(const char *folder, pyexec_executor *executor, struct px_log *log, struct px_state **ret,
                  pyexec_error *error);

/* From now on the end of a session is not recorded, so the next server takes it for ended by the restart. Waits a
 * limited time until the rest is written. Does nothing for NULL. */
void px_state_freeze(struct px_state *state);

/* Writes what has not been written yet, and frees it. Call this before the executor is freed. Does nothing for
 * NULL. */
void px_state_close(struct px_state *state);

/* True if a restart of the server ended the session with this PRINCIPAL/ID, and it does not exist again. */
bool px_state_was_restarted(struct px_state *state, const char *key);

struct px_state_counts {
    size_t lost;       /* sessions that the last restart ended */
    uint64_t failures; /* writes that failed */
    bool kept;         /* the file has the present state, so the next server will know it */
};
/* With NULL, all counts are 0. */
void px_state_count(struct px_state *state, struct px_state_counts *ret);

#endif
