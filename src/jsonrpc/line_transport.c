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
    *lines = (struct px_line_transport){.output = output, .stop = stop, .moved = -1};
    pthread_mutex_init(&lines->output_lock, NULL);
    pthread_mutex_init(&lines->lock, NULL);
    pthread_cond_init(&lines->room, NULL);
}

void px_line_transport_done(struct px_line_transport *lines)
{
    pthread_mutex_destroy(&lines->output_lock);
    pthread_mutex_destroy(&lines->lock);
    pthread_cond_destroy(&lines->room);
    px_close_fd(&lines->moved);
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

/* Writes a part without waiting, and waits only if that is necessary. */
static ssize_t write_part(struct px_line_transport *lines, const char *bytes, size_t length)
{
    if (!lines->output_waits) {
        ssize_t n = px_write_now(lines->output, bytes, length);
        if (n >= 0 || (errno != EAGAIN && errno != EOPNOTSUPP))
            return n;
        lines->output_waits = errno == EOPNOTSUPP;
    }
    return wait_writable(lines) ? px_write(lines->output, bytes, length < PIPE_BUF ? length : PIPE_BUF) : -1;
}

static bool write_line(struct px_line_transport *lines, const char *bytes, size_t length)
{
    while (length) {
        ssize_t n = write_part(lines, bytes, length);
        if (n < 0 && errno != EAGAIN)
            return false;
        bytes += n > 0 ? n : 0;
        length -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* With the output's lock held. */
static void send_part(struct px_line_transport *lines, const char *bytes, size_t length)
{
    if (!lines->output_gone && !write_line(lines, bytes, length)) {
        lines->output_errno = errno;
        lines->output_gone = true;
    }
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
    for (size_t i = 0; i < count; i++)
        send_part(lines, parts[i].iov_base, parts[i].iov_len);
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

void px_line_transport_move(struct px_line_transport *lines, const struct px_buffer *last, int output)
{
    pthread_mutex_lock(&lines->output_lock);
    send_part(lines, last->data, last->length);
    px_close_fd(&lines->moved);
    lines->moved = lines->output = output;
    lines->output_waits = false;
    pthread_mutex_unlock(&lines->output_lock);
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
static char *make_room(struct px_line_reader *reader)
{
    struct px_buffer *input = &reader->buffer;
    px_buffer_consume(input, reader->start);
    reader->searched -= reader->start;
    reader->start = 0;
    char *room = px_buffer_reserve(input, READ_BYTES);
    if (room)
        return room;
    input->failed = false; /* the buffer has the beginning of a line */
    if (!reader->dropping && input->length)
        reader->take(reader->closure, input->data, input->length, PX_LINE_NO_MEMORY);
    reader->dropping = reader->dropping || input->length;
    input->length = reader->searched = 0;
    return px_buffer_reserve(input, READ_BYTES);
}

/* Reads to `room`, a part of the buffer. 1: some bytes; 0: none yet (the descriptor does not block); -1: the end. */
static int read_to(struct px_line_reader *reader, char *room)
{
    struct px_buffer *buffer = &reader->buffer;
    ssize_t n = px_read(reader->input, room, READ_BYTES);
    if (n <= 0)
        return n < 0 && errno == EAGAIN ? 0 : -1;
    buffer->length += (size_t)n;
    buffer->data[buffer->length] = '\0';
    return 1;
}

/* A line that is too long is dropped while it arrives, and reported once. */
static void check_length(struct px_line_reader *reader)
{
    struct px_buffer *input = &reader->buffer;
    if (input->length <= PX_LINE_MAX_BYTES || px_line_reader_has_line(reader))
        return;
    if (!reader->dropping)
        reader->take(reader->closure, input->data, input->length, PX_LINE_TOO_LONG);
    reader->dropping = true;
    px_buffer_done(input);
    reader->searched = 0; /* as `start`, after make_room() */
}

bool px_line_reader_fill(struct px_line_reader *reader)
{
    char *room;
    while (!(room = make_room(reader)))
        px_sleep_ns(NO_MEMORY_NS);
    if (read_to(reader, room) < 0)
        return false;
    check_length(reader);
    return true;
}

static char *find_end(struct px_line_reader *reader)
{
    const struct px_buffer *input = &reader->buffer;
    char *end = NULL; /* an empty buffer has no memory yet */
    if (input->length > reader->searched)
        end = memchr(input->data + reader->searched, '\n', input->length - reader->searched);
    reader->searched = end ? (size_t)(end - input->data) : input->length;
    return end;
}

bool px_line_reader_has_line(struct px_line_reader *reader)
{
    return find_end(reader) != NULL;
}

bool px_line_reader_take(struct px_line_reader *reader)
{
    struct px_buffer *input = &reader->buffer;
    const char *end = find_end(reader);
    if (!end)
        return false;
    const char *line = input->data + reader->start;
    size_t length = (size_t)(end - line);
    bool empty = !length || (length == 1 && *line == '\r');
    if (!reader->dropping && !empty) {
        await_room(reader->lines);
        reader->take(reader->closure, line, length, PX_LINE_WHOLE);
    }
    reader->dropping = false;
    reader->start = reader->searched = (size_t)(end - input->data) + 1;
    return true;
}

void px_line_reader_done(struct px_line_reader *reader)
{
    px_buffer_done(&reader->buffer);
}

/* Waits for input. False: reading must stop. */
static bool await_input(const struct px_line_transport *lines, int input)
{
    struct pollfd fds[] = {{input, POLLIN, 0}, {lines->stop, POLLIN, 0}};
    int ready;
    while ((ready = px_poll(fds, PX_COUNT(fds), -1)) < 0)
        px_sleep_ns(NO_MEMORY_NS);
    return !fds[1].revents;
}

void px_line_transport_read(struct px_line_transport *lines, int input, px_line_fn take, void *closure)
{
    struct px_line_reader reader = {.lines = lines, .input = input, .take = take, .closure = closure};
    while (!lines->stopping && !lines->output_gone && await_input(lines, input) && px_line_reader_fill(&reader))
        while (!lines->stopping && px_line_reader_take(&reader))
            ;
    px_line_reader_done(&reader);
}
