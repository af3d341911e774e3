/* SPDX-License-Identifier: Apache-2.0 */
/* A client on two descriptors, one message a line: reading whole lines, and the one place that
 * writes. A client that does not read makes its own requests wait, and nothing pile up. */
#ifndef PX_JSONRPC_LINE_TRANSPORT_H
#define PX_JSONRPC_LINE_TRANSPORT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include <sys/uio.h>

#include "base/buffer.h"

#define PX_LINE_MAX_BYTES (32u << 20) /* docs/rpc.md */

struct px_line_transport {
    int output, stop;            /* stop: readable when all shall end; or -1 */
    pthread_mutex_t output_lock; /* whole lines */
    _Atomic bool output_gone;
    int output_errno;     /* why, once it is; ETIMEDOUT: the client does not read */
    bool stopping;        /* set it to read no more */
    pthread_mutex_t lock; /* what follows */
    pthread_cond_t room;
    size_t unsent_bytes; /* of lines that wait for the client to read */
};

void px_line_transport_init(struct px_line_transport *lines, int output, int stop);
void px_line_transport_done(struct px_line_transport *lines);

/* Sends one line, without its end, waiting for the client as long as it takes; once all shall end,
 * for a moment. Nothing when the client is gone or the line could not be made. */
void px_line_transport_send(struct px_line_transport *lines, struct px_buffer *line);

/* Sends a line, with its end, that is in parts: nothing is allocated. */
void px_line_transport_send_parts(struct px_line_transport *lines, const struct iovec *parts, size_t count);

/* A line without its end; NULL: one that was too long, which has been dropped.
 * `cut`: there was no memory for the rest, which is dropped. */
typedef void (*px_line_fn)(void *closure, const char *line, size_t length, bool cut);

/* Reads until the end of input, `stopping`, `stop`, or until the output is gone. The next line is
 * taken when little enough is unsent. */
void px_line_transport_read(struct px_line_transport *lines, int input, px_line_fn take, void *closure);

#endif
