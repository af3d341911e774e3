/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of this program, in memory that it shares with the server below it (base/node_figures.h). */
#include <sys/mman.h>
#include <unistd.h>

#include "worker/worker.h"
#include "worker/worker_seats.h"

int px_figures_open(struct px_worker *worker, int fd)
{
    void *figures = mmap(NULL, sizeof *worker->figures, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (figures == MAP_FAILED)
        return -1;
    close(fd);
    worker->figures = figures;
    return natsStatistics_Create(&worker->statistics) == NATS_OK ? 0 : -1;
}

void px_figures_close(struct px_worker *worker)
{
    natsStatistics_Destroy(worker->statistics);
    if (worker->figures)
        munmap(worker->figures, sizeof *worker->figures);
}

/* What libnats counts. */
static void take_connection(struct px_worker *worker)
{
    struct px_node_figures *figures = worker->figures;
    uint64_t in, in_bytes, out, out_bytes, reconnects;
    if (natsConnection_GetStats(worker->link.connection, worker->statistics) != NATS_OK ||
        natsStatistics_GetCounts(worker->statistics, &in, &in_bytes, &out, &out_bytes, &reconnects) != NATS_OK)
        return;
    figures->messages_in = in;
    figures->bytes_in = in_bytes;
    figures->messages_out = out;
    figures->bytes_out = out_bytes;
    figures->reconnects = reconnects;
}

void px_figures_tick(struct px_worker *worker)
{
    struct px_node_figures *figures = worker->figures;
    take_connection(worker);
    figures->connected = worker->link.connected;
    figures->serving = worker->serving && !worker->draining;
    figures->full = worker->full && !worker->draining;
    figures->draining = worker->draining;
    figures->requests = worker->request_count;
    figures->owned = px_seats_owned(worker);
}

void px_figures_claimed(_Atomic uint64_t *won, _Atomic uint64_t *lost, _Atomic uint64_t *failed,
                        enum px_entry_outcome outcome)
{
    ++*(outcome == PX_ENTRY_MADE ? won : outcome == PX_ENTRY_TAKEN ? lost : failed);
}
