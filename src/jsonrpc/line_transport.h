/* SPDX-License-Identifier: Apache-2.0 */
/* A client on two descriptors, with one message on each line: the code that reads whole lines, and the only code
 * that writes them. If a client does not read, its own requests wait, so its messages do not fill the memory. */
#ifndef PX_JSONRPC_LINE_TRANSPORT_H
#define PX_JSONRPC_LINE_TRANSPORT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include <sys/uio.h>

#include "base/buffer.h"

#define PX_LINE_MAX_BYTES (32u << 20) /* docs/rpc.md */

struct px_line_transport {
    int output, stop;            /* stop: becomes readable when everything must end; or -1 */
    int moved;                   /* the output after px_line_transport_move(); or -1 */
    pthread_mutex_t output_lock; /* whole lines */
    bool output_waits;           /* the kernel can't say whether a write would wait: px_write_now() does not work */
    _Atomic bool output_gone;
    int output_errno;      /* why the output failed; ETIMEDOUT: the client does not read */
    _Atomic bool stopping; /* set it to stop reading */
    pthread_mutex_t lock;  /* protects what follows */
    pthread_cond_t room;
    size_t unsent_bytes; /* bytes of lines that wait until the client reads */
};

void px_line_transport_init(struct px_line_transport *lines, int output, int stop);
void px_line_transport_done(struct px_line_transport *lines);

/* Sends one line, given without its end. Waits for the client as long as necessary; when everything must end, only
 * for a short time. Sends nothing when the client is gone or the line could not be made. */
void px_line_transport_send(struct px_line_transport *lines, struct px_buffer *line);

/* The same for a line, given with its end, that consists of parts. Allocates nothing. */
void px_line_transport_send_parts(struct px_line_transport *lines, const struct iovec *parts, size_t count);

/* Sends a last line, given with its end, to the output, and all later lines to this descriptor, which it takes. A client may ask for
 * it more than once. */
void px_line_transport_move(struct px_line_transport *lines, const struct px_buffer *last, int output);

/* Says whether the whole line arrived. In the last two states only its beginning was kept, and the rest is lost. */
enum px_line_state {
    PX_LINE_WHOLE,
    PX_LINE_NO_MEMORY, /* there was no memory for the rest of the line */
    PX_LINE_TOO_LONG
};

/* Called for each line, without its end. */
typedef void (*px_line_fn)(void *closure, const char *line, size_t length, enum px_line_state state);

/* Reads until the end of input, until `stopping` or `stop`, or until the output is gone. It reads the next line
 * only when few bytes are still unsent. */
void px_line_transport_read(struct px_line_transport *lines, int input, px_line_fn take, void *closure);

/* The same in single steps, for more than one thread (line_server.h). */
struct px_line_reader {
    struct px_line_transport *lines;
    int input;
    px_line_fn take;
    void *closure;
    struct px_buffer buffer;
    size_t start;    /* where the next line begins in the buffer */
    size_t searched; /* there is no end of a line before this place */
    bool dropping;   /* the rest of a line that is too long, or for which there was no memory */
};

/* Reads once, which may block. False: nothing will follow. */
bool px_line_reader_fill(struct px_line_reader *reader);
/* Passes the first whole line of the buffer to `take`. False: there is none. */
bool px_line_reader_take(struct px_line_reader *reader);
/* True if the buffer has a whole line. */
bool px_line_reader_has_line(struct px_line_reader *reader);
void px_line_reader_done(struct px_line_reader *reader);

#endif
