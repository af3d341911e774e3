/* SPDX-License-Identifier: Apache-2.0 */
#include "jsonrpc/line_transport.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/retry.h"

#define READ_BYTES 65536u
#define UNSENT_MAX (16u << 20)
#define NO_MEMORY_NS 10000000 /* pause between two attempts to get memory for a line */
#define LAST_WORDS_MS 1000    /* how long a client may take to read an answer while the program ends */

void px_line_transport_init(struct px_line_transport *lines, int output, int stop)
{
    *lines = (struct px_line_transport){.output = output, .stop = stop};
    pthread_mutex_init(&lines->output_lock, NULL);
    pthread_mutex_init(&lines->lock, NULL);
    pthread_cond_init(&lines->room, NULL);
}

void px_line_transport_done(struct px_line_transport *lines)
{
    pthread_mutex_destroy(&lines->output_lock);
    pthread_mutex_destroy(&lines->lock);
    pthread_cond_destroy(&lines->room);
}

/* ---- Writing ---- */

/* Waits until the output takes PIPE_BUF bytes: then a write of that many bytes does not block (pipe(7)). After
 * `stop` is readable it waits only for a limited time, and then returns false with ETIMEDOUT. */
static bool wait_writable(const struct px_line_transport *lines)
{
    struct pollfd fds[] = {{lines->output, POLLOUT, 0}, {lines->stop, POLLIN, 0}};
    int timeout = -1;
    for (;;) {
        int n = px_poll(fds, PX_COUNT(fds), timeout);
        if (n < 0) { /* the only failure is ENOMEM (poll(2)) */
            px_sleep_ns(NO_MEMORY_NS);
            continue;
        }
        if (n == 0)
            errno = ETIMEDOUT;
        if (n <= 0 || fds[0].revents)
            return n > 0;
        fds[1].fd = -1;
        timeout = LAST_WORDS_MS;
    }
}

static bool write_line(const struct px_line_transport *lines, const char *bytes, size_t length)
{
    while (length) {
        if (!wait_writable(lines))
            return false;
        ssize_t n = px_write(lines->output, bytes, length < PIPE_BUF ? length : PIPE_BUF);
        if (n < 0 && errno != EAGAIN)
            return false;
        bytes += n > 0 ? n : 0;
        length -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

static void count_unsent(struct px_line_transport *lines, size_t more, size_t less)
{
    pthread_mutex_lock(&lines->lock);
    lines->unsent_bytes += more;
    lines->unsent_bytes -= less;
    pthread_cond_broadcast(&lines->room);
    pthread_mutex_unlock(&lines->lock);
}

void px_line_transport_send_parts(struct px_line_transport *lines, const struct iovec *parts, size_t count)
{
    size_t length = 0;
    for (size_t i = 0; i < count; i++)
        length += parts[i].iov_len;
    count_unsent(lines, length, 0);
    pthread_mutex_lock(&lines->output_lock);
    for (size_t i = 0; i < count && !lines->output_gone; i++)
        if (!write_line(lines, parts[i].iov_base, parts[i].iov_len)) {
            lines->output_errno = errno;
            lines->output_gone = true;
        }
    pthread_mutex_unlock(&lines->output_lock);
    count_unsent(lines, 0, length);
}

void px_line_transport_send(struct px_line_transport *lines, struct px_buffer *line)
{
    px_buffer_add_byte(line, '\n');
    const struct iovec whole = {line->data, line->length};
    if (px_buffer_ok(line))
        px_line_transport_send_parts(lines, &whole, 1);
}

/* ---- Reading ---- */

static void await_room(struct px_line_transport *lines)
{
    pthread_mutex_lock(&lines->lock);
    while (lines->unsent_bytes > UNSENT_MAX && !lines->output_gone)
        pthread_cond_wait(&lines->room, &lines->lock);
    pthread_mutex_unlock(&lines->lock);
}

/* Makes room to read. Without memory, the part of the line that has arrived is passed on and the rest is dropped.
 * The buffer never becomes larger than the longest line for which there was memory. */
static char *make_room(struct px_buffer *input, bool *dropping, px_line_fn take, void *closure)
{
    char *room = px_buffer_reserve(input, READ_BYTES);
    if (room)
        return room;
    input->failed = false; /* the buffer has a whole line */
    if (!*dropping && input->length)
        take(closure, input->data, input->length, PX_LINE_NO_MEMORY);
    *dropping = *dropping || input->length;
    input->length = 0;
    return px_buffer_reserve(input, READ_BYTES);
}

/* Takes whole lines out of the buffer. A line that is too long is dropped while it arrives, and reported once. */
static void take_lines(struct px_line_transport *lines, struct px_buffer *input, bool *dropping, px_line_fn take,
                       void *closure)
{
    size_t done = 0;
    while (!lines->stopping) {
        char *start = input->data + done;
        char *end = input->length > done ? memchr(start, '\n', input->length - done) : NULL;
        if (!end)
            break;
        size_t length = (size_t)(end - start);
        if (*dropping)
            *dropping = false;
        else if (length && !(length == 1 && *start == '\r')) {
            await_room(lines);
            take(closure, start, length, PX_LINE_WHOLE);
        }
        done += length + 1;
    }
    if (done)
        px_buffer_consume(input, done);
    if (input->length <= PX_LINE_MAX_BYTES)
        return;
    if (!*dropping)
        take(closure, input->data, input->length, PX_LINE_TOO_LONG);
    *dropping = true;
    px_buffer_done(input);
}

/* Reads some bytes to `room`, a part of the buffer. Returns false at the end of input, and when reading must
 * stop. */
static bool read_some(const struct px_line_transport *lines, int input, struct px_buffer *buffer, char *room)
{
    struct pollfd fds[] = {{input, POLLIN, 0}, {lines->stop, POLLIN, 0}};
    for (;;) {
        int ready = px_poll(fds, PX_COUNT(fds), -1);
        if (ready < 0) {
            px_sleep_ns(NO_MEMORY_NS);
            continue;
        }
        if (ready > 0 && fds[1].revents)
            return false;
        ssize_t n = ready > 0 ? px_read(input, room, READ_BYTES) : -1;
        if (n > 0) {
            buffer->length += (size_t)n;
            buffer->data[buffer->length] = '\0';
            return true;
        }
        if (n == 0 || errno != EAGAIN)
            return false;
    }
}

void px_line_transport_read(struct px_line_transport *lines, int input, px_line_fn take, void *closure)
{
    struct px_buffer px_auto_buffer buffer = {0};
    bool dropping = false;
    while (!lines->stopping && !lines->output_gone) {
        char *room = make_room(&buffer, &dropping, take, closure);
        if (!room)
            px_sleep_ns(NO_MEMORY_NS);
        else if (read_some(lines, input, &buffer, room))
            take_lines(lines, &buffer, &dropping, take, closure);
        else
            break;
    }
}
