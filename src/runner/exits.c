/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/exits.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fds.h"

/* A killed process ends within about a millisecond, so few are ending at a time. Descriptors are scarce: the limit
 * may be 128. */
#define HOLDING_MAX 16

static struct px_exit **list_of(struct px_exits *exits, pid_t pid)
{
    return &exits->lists[(unsigned)pid % PX_EXIT_LISTS];
}

struct px_exit *px_exits_get(struct px_exits *exits, pid_t pid)
{
    struct px_exit **list = list_of(exits, pid), *found = *list;
    while (found && found->pid != pid)
        found = found->next;
    if (found || !(found = calloc(1, sizeof *found)))
        return found;
    found->pid = pid;
    found->next = *list;
    *list = found;
    return found;
}

void px_exits_remove(struct px_exits *exits, struct px_exit *gone)
{
    for (struct px_exit **at = list_of(exits, gone->pid); *at; at = &(*at)->next)
        if (*at == gone) {
            *at = gone->next;
            free(gone);
            return;
        }
}

void px_exits_hold(struct px_exits *exits, struct px_exit *holder, int *fds, size_t count)
{
    if (exits->holding >= HOLDING_MAX)
        return;
    for (size_t i = 0; i < count && holder->fd_count < PX_EXIT_FDS; i++)
        if (fds[i] >= 0)
            holder->fds[holder->fd_count++] = TAKE_FD(fds[i]);
    exits->holding += holder->fd_count > 0;
}

size_t px_exits_take_fds(struct px_exits *exits, struct px_exit *holder, int ret_fds[PX_EXIT_FDS])
{
    size_t count = holder->fd_count;
    memcpy(ret_fds, holder->fds, count * sizeof *ret_fds);
    holder->fd_count = 0;
    exits->holding -= count > 0;
    return count;
}

void px_exits_close_all(struct px_exits *exits)
{
    for (size_t i = 0; i < PX_EXIT_LISTS && exits->holding; i++)
        for (struct px_exit *one = exits->lists[i]; one; one = one->next) {
            int fds[PX_EXIT_FDS];
            px_close_fds(fds, px_exits_take_fds(exits, one, fds));
        }
}

void px_exits_done(struct px_exits *exits)
{
    px_exits_close_all(exits);
    for (size_t i = 0; i < PX_EXIT_LISTS; i++)
        while (exits->lists[i])
            px_exits_remove(exits, exits->lists[i]);
}
