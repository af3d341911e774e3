/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/server_client.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "base/socket_folder.h"

#define WAIT_MS 10000          /* for a connection, and for the answer of a short request */
#define ANSWER_LINES_MAX 65536 /* bytes */
#define TOKEN_MAX 4096
#define RECEIVE_BYTES 65536

/* ---- Which server ---- */

static int read_token(struct server *server, const char *path, pyexec_error *error)
{
    px_auto_fd int fd = px_open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
    if (fd < 0 || px_read_all(fd, &server->token, TOKEN_MAX) < 0) {
        px_error_errno(error, PYEXEC_INVALID_POLICY, errno, "token_file: can't read '%s'", path);
        error->sys_errno = 0; /* it does not mean that no server is there */
        return px_error_hint(error, "Give a readable file whose first line is the token.");
    }
    const char *text = px_buffer_shown(&server->token);
    size_t length = strcspn(text, "\r\n \t");
    bool visible = length > 0;
    for (size_t i = 0; i < length; i++)
        visible &= text[i] > 0x20 && text[i] < 0x7f;
    if (!visible) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "token_file: the first line of '%s' is not a token", path);
        return px_error_hint(error, "Write the token itself, not its hash.");
    }
    server->token.length = length;
    server->token.data[length] = '\0';
    return 0;
}

static int find_tcp(struct server *ret, const char *address, pyexec_error *error)
{
    size_t length = strcspn(address, "/");
    const char *colon = memrchr(address, ':', length);
    size_t host = colon ? (size_t)(colon - address) : 0, port = colon ? length - host - 1 : 0;
    bool bracketed = host > 2 && address[0] == '[';
    if (!host || !port || port >= sizeof ret->port || host >= sizeof ret->host) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "server: '%s' is not HOST:PORT", address);
        return px_error_hint(error, "Write http://HOST:PORT.");
    }
    snprintf(ret->host, sizeof ret->host, "%.*s", (int)(bracketed ? host - 2 : host), address + bracketed);
    snprintf(ret->port, sizeof ret->port, "%.*s", (int)port, colon + 1);
    snprintf(ret->name, sizeof ret->name, "http://%.*s", (int)length, address);
    return 0;
}

static int no_default(const char *folder, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_POLICY, "server: there is no server on the default socket of this user, in '%s'",
                 folder);
    error->sys_errno = ENOENT;
    return px_error_hint(error, "Start `pyexec serve`, or name its socket: --server unix:/PATH. Its log says which.");
}

int server_find(struct server *ret, const struct px_cli_config *config, pyexec_error *error)
{
    static const char http[] = "http://";
    char folder[PATH_MAX];
    *ret = (struct server){0};
    if (config->token_file && read_token(ret, config->token_file, error) < 0)
        return -1;
    if (strncmp(config->server, http, sizeof http - 1) == 0)
        return find_tcp(ret, config->server + sizeof http - 1, error);
    int length = 0;
    if (strcmp(config->server, "default") != 0)
        length = snprintf(ret->path, sizeof ret->path, "%s", config->server + strlen("unix:"));
    else if (px_socket_folder(folder, sizeof folder, false))
        length = snprintf(ret->path, sizeof ret->path, "%s/pyexec.sock", folder);
    else
        return no_default(folder, error);
    if (length < 0 || (size_t)length >= sizeof((struct sockaddr_un){0}).sun_path) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "server: the path of the socket is too long: '%s'", ret->path);
        return px_error_hint(error, "A socket's path may have 107 bytes (unix(7)): choose a shorter one.");
    }
    snprintf(ret->name, sizeof ret->name, "unix:%s", ret->path);
    return 0;
}

void server_done(struct server *server)
{
    px_buffer_done(&server->token);
}

/* ---- The connection ---- */

static bool await(int fd, short events, int64_t until_ns)
{
    struct pollfd polled = {.fd = fd, .events = events};
    int64_t left = (until_ns - px_now_ns()) / PX_NS_PER_MS;
    return px_poll(&polled, 1, left > 0 ? (int)left : 0) > 0;
}

/* Returns the socket, or -1 with errno. A UNIX socket whose queue is full refuses with EAGAIN. */
static int connect_to(const struct sockaddr *address, socklen_t size)
{
    int64_t until = px_now_ns() + WAIT_MS * PX_NS_PER_MS;
    px_auto_fd int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int failed = px_connect_nonblocking(fd, address, size) < 0 ? errno : 0;
    while (failed == EAGAIN && px_now_ns() < until) {
        px_sleep_ns(5 * PX_NS_PER_MS);
        failed = px_connect_nonblocking(fd, address, size) < 0 ? errno : 0;
    }
    if (failed == EINPROGRESS) {
        socklen_t length = sizeof failed;
        if (!await(fd, POLLOUT, until))
            failed = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &length) < 0)
            failed = errno;
    }
    errno = failed;
    return failed ? -1 : TAKE_FD(fd);
}

static int connect_tcp(const struct server *server, const char **ret_why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *list = NULL;
    int failed = getaddrinfo(server->host, server->port, &hints, &list), fd = -1, one = 1;
    hints.ai_flags = AI_NUMERICSERV;
    if (failed) /* a name: reading it may load modules of the C library */
        failed = getaddrinfo(server->host, server->port, &hints, &list);
    if (failed) {
        *ret_why = gai_strerror(failed);
        errno = EHOSTUNREACH;
        return -1;
    }
    for (const struct addrinfo *at = list; at && fd < 0; at = at->ai_next)
        fd = connect_to(at->ai_addr, at->ai_addrlen);
    int saved = errno;
    freeaddrinfo(list);
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    errno = saved;
    return fd;
}

static int refuse(const struct server *server, int sys_errno, const char *why, pyexec_error *error)
{
    bool denied = sys_errno == EACCES || sys_errno == EPERM;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "can't connect to the server %s: %s", server->name,
                 why ? why : strerrordesc_np(sys_errno));
    error->sys_errno = sys_errno;
    return px_error_hint(
        error, "%s",
        denied ? "Only the user that started the server may use its socket. Run as that user, or ask its "
                 "operator for a token and an address."
               : "Start it with `pyexec serve`, name its address (its log says `listening`) with --server or "
                 "[cli] server, or run without a server: --server none.");
}

int server_connect(const struct server *server, struct server_answer *ret, pyexec_error *error)
{
    const char *why = NULL;
    *ret = (struct server_answer){.fd = -1};
    if (*server->path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strcpy(address.sun_path, server->path); /* server_find() checked its length */
        ret->fd = connect_to((const struct sockaddr *)&address, sizeof address);
    } else {
        ret->fd = connect_tcp(server, &why);
    }
    return ret->fd < 0 ? refuse(server, errno, why, error) : 0;
}

void server_close(struct server_answer *answer)
{
    px_close_fd(&answer->fd);
    px_buffer_done(&answer->raw);
    px_buffer_done(&answer->body);
}

/* ---- Sending ---- */

/* A server that refuses a request may answer and close its end before it has read everything. */
static int send_all(const struct server_answer *answer, const char *bytes, size_t length)
{
    while (length) {
        ssize_t n = px_send(answer->fd, bytes, length, MSG_NOSIGNAL);
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            if (!await(answer->fd, POLLOUT, px_now_ns() + WAIT_MS * PX_NS_PER_MS)) {
                errno = ETIMEDOUT;
                return -1;
            }
        } else {
            return errno == EPIPE || errno == ECONNRESET ? 0 : -1;
        }
    }
    return 0;
}

int server_send(const struct server *server, struct server_answer *answer, const char *method, const char *path,
                const char *headers, const char *body, size_t length, pyexec_error *error)
{
    px_auto_buffer struct px_buffer request = {0};
    bool colons = strchr(server->host, ':');
    px_buffer_printf(&request, "%s %s HTTP/1.1\r\nHost: ", method, path);
    if (*server->path)
        px_buffer_add_string(&request, "localhost");
    else
        px_buffer_printf(&request, "%s%s%s:%s", colons ? "[" : "", server->host, colons ? "]" : "", server->port);
    if (px_buffer_length(&server->token))
        px_buffer_printf(&request, "\r\nAuthorization: Bearer %s", px_buffer_shown(&server->token));
    px_buffer_printf(&request, "\r\n%sContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                     headers ? headers : "", length);
    px_buffer_add(&request, body, length);
    if (!px_buffer_ok(&request))
        return px_error_oom(error);
    answer->status = answer->retry_after_s = 0;
    answer->headers_done = answer->ended = answer->chunked = false;
    answer->chunk_step = 0;
    answer->left = 0;
    px_buffer_done(&answer->body);
    px_buffer_done(&answer->raw);
    if (send_all(answer, request.data, request.length) == 0)
        return 0;
    px_error_errno(error, PYEXEC_INTERNAL, errno, "can't send to the server %s", server->name);
    return px_error_hint(error, "Its log may say why. The script has not run.");
}

/* ---- Receiving ---- */

static int not_http(pyexec_error *error)
{
    px_error_set(error, PYEXEC_INTERNAL, "the answer of the server is not HTTP");
    return px_error_hint(error,
                         "Is it a pyexec server? `pyexec serve` says its address in its log. With TLS, connect through "
                         "a UNIX socket or a tunnel.");
}

/* Reads a number that begins here. strtoull(3) would take a sign, and look for the digits on the lines after this one. */
static int read_size(const char *text, int base, uint64_t *ret)
{
    char *end;
    if (!isxdigit((unsigned char)*text))
        return -1;
    *ret = strtoull(text, &end, base);
    return end > text && *ret <= INT64_MAX ? 0 : -1;
}

/* Takes the status line and the headers that matter. */
static int take_headers(struct server_answer *answer, char *text, pyexec_error *error)
{
    char *rest = text, *line = strsep(&rest, "\n");
    unsigned status;
    if (sscanf(line, "HTTP/1.%*1[01] %3u", &status) != 1 || status < 100)
        return not_http(error);
    answer->left = UINT64_MAX;
    while ((line = strsep(&rest, "\n"))) {
        static const char length[] = "Content-Length:", coding[] = "Transfer-Encoding:", retry[] = "Retry-After:";
        if (strncasecmp(line, length, sizeof length - 1) == 0) {
            line += sizeof length - 1;
            if (read_size(line + strspn(line, " \t"), 10, &answer->left) < 0)
                return not_http(error);
        } else if (strncasecmp(line, coding, sizeof coding - 1) == 0)
            answer->chunked = strcasestr(line, "chunked");
        else if (strncasecmp(line, retry, sizeof retry - 1) == 0)
            answer->retry_after_s = atoi(line + sizeof retry - 1);
    }
    answer->status = (int)status;
    answer->headers_done = true;
    if (answer->chunked || status == 204)
        answer->left = 0;
    answer->ended = !answer->chunked && !answer->left;
    return 0;
}

/* The steps of a chunk: its size, its bytes, the end of line after them, and the lines after the last chunk. */
enum { CHUNK_SIZE, CHUNK_BYTES, CHUNK_END, CHUNK_TRAILER };

/* Takes a line of `raw` from *at on. Returns NULL if it is not complete. */
static const char *take_line(const struct server_answer *answer, size_t *at)
{
    const char *from = answer->raw.data + *at, *end = memchr(from, '\n', answer->raw.length - *at);
    if (!end)
        return NULL;
    *at += (size_t)(end - from) + 1;
    return from;
}

static int take_chunk_line(struct server_answer *answer, const char *line, pyexec_error *error)
{
    if (answer->chunk_step == CHUNK_END) {
        answer->chunk_step = CHUNK_SIZE;
        return 0;
    }
    if (answer->chunk_step == CHUNK_TRAILER) {
        answer->ended = *line == '\r' || *line == '\n';
        return 0;
    }
    if (read_size(line, 16, &answer->left) < 0)
        return not_http(error);
    answer->chunk_step = answer->left ? CHUNK_BYTES : CHUNK_TRAILER;
    return 0;
}

static int take_body(struct server_answer *answer, pyexec_error *error)
{
    size_t at = 0;
    while (at < answer->raw.length && !answer->ended) {
        if (answer->chunked && answer->chunk_step != CHUNK_BYTES) {
            const char *line = take_line(answer, &at);
            if (!line)
                break;
            if (take_chunk_line(answer, line, error) < 0)
                return -1;
            continue;
        }
        size_t have = answer->raw.length - at, part = have < answer->left ? have : (size_t)answer->left;
        px_buffer_add(&answer->body, answer->raw.data + at, part);
        at += part;
        if (answer->left != UINT64_MAX)
            answer->left -= part;
        if (!answer->left && answer->chunked)
            answer->chunk_step = CHUNK_END;
        answer->ended = !answer->left && !answer->chunked;
    }
    px_buffer_consume(&answer->raw, at);
    if (answer->raw.length > ANSWER_LINES_MAX) /* a line that does not end */
        return not_http(error);
    return px_buffer_ok(&answer->body) ? 0 : px_error_oom(error);
}

static int take_bytes(struct server_answer *answer, pyexec_error *error)
{
    if (!answer->headers_done) {
        char *end = memmem(answer->raw.data, answer->raw.length, "\r\n\r\n", 4);
        if (!end)
            return answer->raw.length > ANSWER_LINES_MAX ? not_http(error) : 0;
        size_t length = (size_t)(end - answer->raw.data) + 4;
        *end = '\0';
        if (take_headers(answer, answer->raw.data, error) < 0)
            return -1;
        px_buffer_consume(&answer->raw, length);
    }
    return take_body(answer, error);
}

int server_receive(struct server_answer *answer, pyexec_error *error)
{
    while (!answer->ended && !answer->lost) {
        char *room = px_buffer_reserve(&answer->raw, RECEIVE_BYTES);
        if (!room)
            return px_error_oom(error);
        ssize_t n = px_recv(answer->fd, room, RECEIVE_BYTES, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n <= 0) {
            answer->ended = answer->headers_done && !answer->chunked && answer->left == UINT64_MAX;
            answer->lost = !answer->ended;
            return 0;
        }
        answer->raw.length += (size_t)n;
        answer->raw.data[answer->raw.length] = '\0';
        if (take_bytes(answer, error) < 0)
            return -1;
        if (n < RECEIVE_BYTES)
            return 0;
    }
    return 0;
}

static int ask(const struct server *server, struct server_answer *answer, const char *method, const char *path,
               const char *body, size_t length, pyexec_error *error)
{
    int64_t until = px_now_ns() + WAIT_MS * PX_NS_PER_MS;
    if (answer->fd < 0 && server_connect(server, answer, error) < 0)
        return -1;
    if (server_send(server, answer, method, path, NULL, body, length, error) < 0)
        return -1;
    while (!answer->ended && !answer->lost && await(answer->fd, POLLIN, until))
        if (server_receive(answer, error) < 0)
            return -1;
    return answer->ended ? 0 : px_error_set(error, PYEXEC_INTERNAL, "the server %s does not answer", server->name);
}

/* A kept connection may have been closed by the server since the last request. */
int server_ask(const struct server *server, struct server_answer *answer, const char *method, const char *path,
               const char *body, size_t length, pyexec_error *error)
{
    bool kept = answer->fd >= 0;
    int status = ask(server, answer, method, path, body, length, error);
    if (status < 0) {
        bool again = kept && answer->lost && !answer->status;
        server_close(answer);
        *answer = (struct server_answer){.fd = -1};
        if (again)
            return server_ask(server, answer, method, path, body, length, error);
    }
    return status;
}

bool server_is_problem(const json_t *problem, int status)
{
    return json_integer_value(json_object_get(problem, "status")) == status &&
           json_is_string(json_object_get(problem, "title")) && json_is_string(json_object_get(problem, "code")) &&
           json_is_string(json_object_get(problem, "hint"));
}
