/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/retry.h"
#include "base/service_manager.h"
#include "base/socket_folder.h"
#include "serve/server.h"

#define BACKLOG 1024

static bool is_loopback(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    socklen_t size = sizeof address;
    if (getsockname(fd, &address.any, &size) < 0)
        return false;
    if (address.any.sa_family == AF_INET)
        return ntohl(address.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return address.any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&address.v6.sin6_addr);
}

static struct px_listener *add(struct px_server *server, int fd, bool tcp, const char *name)
{
    struct px_listener *listener = &server->listeners[server->listener_count++];
    *listener = (struct px_listener){.server = server, .fd = fd, .tcp = tcp, .loopback = tcp && is_loopback(fd)};
    snprintf(listener->name, sizeof listener->name, "%s", name);
    return listener;
}

/* Says what to do when an address can't be used. */
static int refuse(const char *address, int sys_errno, pyexec_error *error)
{
    px_error_errno(error, PYEXEC_INVALID_POLICY, sys_errno, "listen: can't listen on '%s'", address);
    switch (sys_errno) {
    case EADDRINUSE:
        return px_error_hint(error, "Stop what listens there (`ss -ltnp` names it), or choose another port.");
    case EADDRNOTAVAIL:
        return px_error_hint(error, "Give an address of this machine (`ip address` lists them), or 0.0.0.0 or [::] "
                                    "for all.");
    case ENOENT:
    case ENOTDIR:
        return px_error_hint(error, "Make the socket's folder first, or choose an existing folder.");
    case EACCES:
    case EPERM:
    case EROFS:
        return px_error_hint(error, "Choose a folder that this user may write to, or a port from 1024 on.");
    default:
        return px_error_hint(error, "Choose another address with --listen unix:/PATH or HOST:PORT.");
    }
}

/* ---- UNIX sockets ---- */

/* Removes a socket on which nothing listens: a server that was killed has left it. */
static int clear_stale(const struct sockaddr_un *address, pyexec_error *error)
{
    struct stat status;
    if (lstat(address->sun_path, &status) < 0)
        return 0;
    px_auto_fd int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool stale = S_ISSOCK(status.st_mode) &&
                 px_connect_nonblocking(probe, (const struct sockaddr *)address, sizeof *address) < 0 &&
                 errno == ECONNREFUSED;
    if (stale && unlink(address->sun_path) == 0)
        return 0;
    px_error_set(error, PYEXEC_INVALID_POLICY, "listen: '%s' is in use", address->sun_path);
    return px_error_hint(error, "Stop the other server or remove the file, or listen elsewhere.");
}

static int listen_unix(struct px_server *server, const char *path, pyexec_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "listen: '%s' is too long for the path of a socket", path);
        return px_error_hint(error, "A socket's path may have 107 bytes (unix(7)): choose a shorter one.");
    }
    strcpy(address.sun_path, path);
    if (clear_stale(&address, error) < 0)
        return -1;
    px_auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0177); /* 0600 from the start, because everybody who can connect is `local` */
    int failed = fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0;
    int saved = errno;
    umask(mask);
    if (failed)
        return refuse(path, saved, error);
    char name[128];
    snprintf(name, sizeof name, "unix:%s", path);
    struct px_listener *listener = add(server, TAKE_FD(fd), false, name);
    snprintf(listener->host, sizeof listener->host, "%s", path);
    return 0;
}

static int listen_default(struct px_server *server, pyexec_error *error)
{
    char folder[PATH_MAX], path[PATH_MAX + sizeof "/pyexec.sock"];
    if (!px_socket_folder(folder, sizeof folder, true)) {
        px_error_set(error, PYEXEC_INVALID_POLICY,
                     "listen: no folder for the default socket: '%s' can't be made, or "
                     "others may write to it",
                     folder);
        return px_error_hint(error, "Name a socket in a folder that only this user may write to: --listen unix:/PATH.");
    }
    snprintf(path, sizeof path, "%s/pyexec.sock", folder);
    return listen_unix(server, path, error);
}

/* ---- TCP ---- */

static int bind_tcp(const struct addrinfo *info)
{
    int one = 1;
    px_auto_fd int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (info->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        return -1;
    return TAKE_FD(fd);
}

/* Returns the port that the kernel chose for port 0. */
static unsigned port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return 0;
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

static int listen_tcp(struct px_server *server, const char *text, pyexec_error *error)
{
    char host[128], name[160];
    const char *colon = strrchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : 0;
    bool bracketed = length > 2 && text[0] == '[' && text[length - 1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(bracketed ? length - 2 : length), text + bracketed);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list;
    int failed = getaddrinfo(host, colon ? colon + 1 : "", &hints, &list);
    if (failed) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "listen: '%s': %s", text, gai_strerror(failed));
        return px_error_hint(error, "Give an address of this machine, as in 127.0.0.1:8000 or [::1]:8000.");
    }
    size_t before = server->listener_count;
    for (const struct addrinfo *at = list; at && server->listener_count < PX_LISTENERS_MAX; at = at->ai_next) {
        int fd = bind_tcp(at);
        if (fd < 0)
            continue;
        snprintf(name, sizeof name, "%.*s:%u", (int)length, text, port_of(fd));
        struct px_listener *listener = add(server, fd, true, name);
        snprintf(listener->host, sizeof listener->host, "%s", host);
    }
    int saved = errno;
    freeaddrinfo(list);
    return server->listener_count > before ? 0 : refuse(text, saved, error);
}

/* ---- All listeners ---- */

static int take_passed(struct px_server *server, int count, pyexec_error *error)
{
    for (int fd = PX_SERVICE_FD; fd < PX_SERVICE_FD + count; fd++) {
        int family = px_service_family(fd);
        bool is_unix = family == AF_UNIX;
        if (server->listener_count == PX_LISTENERS_MAX || family < 0)
            return px_error_set(error, PYEXEC_INVALID_POLICY,
                                "descriptor %d, which systemd passed, is not a "
                                "listening socket",
                                fd);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        add(server, fd, !is_unix, is_unix ? "unix:(systemd)" : "tcp:(systemd)");
    }
    return 0;
}

static int check_tokens(const struct px_server *server, pyexec_error *error)
{
    for (size_t i = 0; i < server->listener_count; i++)
        if (server->listeners[i].tcp && !server->options->config->token_file && !server->listeners[i].metrics_only &&
            !(server->dialects && server->listeners[i].loopback)) {
            px_error_set(error, PYEXEC_INVALID_POLICY, "token_file: %s needs one", server->listeners[i].name);
            return px_error_hint(error, "Give --token-file with a line NAME sha256:HEX (HEX is what "
                                        "`printf %%s TOKEN | sha256sum` prints), or listen on a UNIX socket: "
                                        "--listen unix:/PATH.");
        }
    return 0;
}

static int listen_each(struct px_server *server, const struct px_strings *addresses, pyexec_error *error)
{
    for (size_t i = 0; i < addresses->count; i++) {
        const char *text = addresses->items[i];
        if (server->listener_count == PX_LISTENERS_MAX)
            return px_error_set(error, PYEXEC_INVALID_POLICY, "listen: more than %d addresses", PX_LISTENERS_MAX);
        int status =
            strncmp(text, "unix:", 5) == 0 ? listen_unix(server, text + 5, error) : listen_tcp(server, text, error);
        if (status < 0)
            return -1;
    }
    return 0;
}

static int listen_for_metrics(struct px_server *server, pyexec_error *error)
{
    size_t before = server->listener_count;
    if (listen_each(server, &server->options->config->metrics, error) < 0)
        return px_error_wrap(error, "--metrics ([serve] metrics)");
    for (size_t i = before; i < server->listener_count; i++)
        server->listeners[i].metrics_only = true;
    return 0;
}

int px_listen_all(struct px_server *server, pyexec_error *error)
{
    int passed = px_service_sockets();
    if (server->options->worker_socket)
        add(server, server->options->worker_socket, false, "unix:(worker)")->names_principals = true;
    if (passed > 0 && take_passed(server, passed, error) < 0)
        return -1;
    if (listen_each(server, &server->options->config->listen, error) < 0)
        return -1;
    if (!server->listener_count && listen_default(server, error) < 0)
        return -1;
    if (listen_for_metrics(server, error) < 0)
        return -1;
    return check_tokens(server, error);
}

void px_listen_done(struct px_server *server)
{
    for (size_t i = 0; i < server->listener_count; i++) {
        struct px_listener *listener = &server->listeners[i];
        px_close_fd(&listener->fd);
        if (!listener->tcp && listener->host[0])
            unlink(listener->host);
    }
    server->listener_count = 0;
}
