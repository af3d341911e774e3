/* SPDX-License-Identifier: Apache-2.0 */
/* Parses the answer of an HTTP server, as `pyexec run --server` does. The answer must be the same when its bytes come in pieces and
 * when they come at once. */
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/server_client.h"
#include "fuzz.h"

/* Returns what server_receive() does. The connection is closed after the last byte. */
static int receive(const char *bytes, size_t length, size_t piece, struct server_answer *ret)
{
    int pair[2], status = 0;
    pyexec_error error = {0};
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    *ret = (struct server_answer){.fd = pair[0]};
    for (size_t at = 0; at < length && status == 0 && !ret->ended; at += piece) {
        size_t left = length - at, part = left < piece ? left : piece;
        require(write(pair[1], bytes + at, part) == (ssize_t)part);
        status = server_receive(ret, &error);
        require(!ret->lost);
    }
    close(pair[1]);
    if (status == 0 && !ret->ended)
        status = server_receive(ret, &error);
    require(status < 0 || ret->ended != ret->lost);
    if (status < 0)
        require_error(&error, PYEXEC_INTERNAL);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct server_answer whole, pieces;
    const char *bytes = (const char *)data;
    if (size < 2)
        return 0;
    int status = receive(bytes + 1, size - 1, size, &whole);
    require(receive(bytes + 1, size - 1, 1 + data[0] % 7u, &pieces) == status);
    if (status == 0) {
        require(whole.status == pieces.status && whole.ended == pieces.ended && whole.lost == pieces.lost);
        require(whole.body.length == pieces.body.length);
        require(!whole.body.length || memcmp(whole.body.data, pieces.body.data, whole.body.length) == 0);
    }
    server_close(&whole);
    server_close(&pieces);
    return 0;
}
