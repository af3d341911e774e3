/* SPDX-License-Identifier: Apache-2.0 */
#include "batch/batch_progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/print.h"

#define BAR_WIDTH 24
#define BAR_MS 200
#define LINE_MS 10000
#define CLEAR "\r\033[K"

void batch_progress_init(struct batch_progress *progress, bool quiet)
{
    *progress = (struct batch_progress){.quiet = quiet, .terminal = isatty(STDERR_FILENO)};
    progress->began_ns = progress->shown_ns = px_now_ns();
}

static uint64_t ended(const struct batch_counts *counts)
{
    return counts->before + counts->ok + counts->other + counts->dead;
}

int batch_progress_wait_ms(const struct batch_progress *progress)
{
    int64_t every = progress->terminal ? BAR_MS : LINE_MS;
    int64_t left = every - (px_now_ns() - progress->shown_ns) / PX_NS_PER_MS;
    return left > 0 ? (int)left : 0;
}

static void clear(struct batch_progress *progress)
{
    if (progress->drawn)
        cli_write(STDERR_FILENO, CLEAR, sizeof CLEAR - 1);
    progress->drawn = false;
}

void batch_progress_show(struct batch_progress *progress, const struct batch_counts *counts)
{
    char text[300], bar[BAR_WIDTH + 1];
    if (progress->quiet || batch_progress_wait_ms(progress) > 0)
        return;
    int64_t now = px_now_ns();
    uint64_t have = ended(counts);
    double seconds = (double)(now - progress->shown_ns) / 1e9, rate = (double)(have - progress->shown) / seconds;
    unsigned percent = counts->total ? (unsigned)(100 * have / counts->total) : 100;
    progress->shown_ns = now;
    progress->shown = have;
    int length = snprintf(text, sizeof text, "%llu/%llu (%u%%), %.0f/s, %llu in progress, %llu dead letters%s",
                          (unsigned long long)have, (unsigned long long)counts->total, percent, rate,
                          (unsigned long long)counts->running, (unsigned long long)counts->dead,
                          counts->waiting && counts->waiting == counts->running ? ", waiting for the server" : "");
    if (!progress->terminal) {
        cli_say(text, NULL);
        return;
    }
    unsigned full = percent * BAR_WIDTH / 100;
    for (unsigned i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < full ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    cli_write(STDERR_FILENO, CLEAR "[", sizeof CLEAR);
    cli_write(STDERR_FILENO, bar, BAR_WIDTH);
    cli_write(STDERR_FILENO, "] ", 2);
    cli_write(STDERR_FILENO, text, (size_t)length);
    progress->drawn = true;
}

void batch_progress_say(struct batch_progress *progress, bool must, const char *message, const char *hint)
{
    if (progress->quiet && !must)
        return;
    clear(progress);
    cli_say(message, hint);
}

void batch_progress_summary(struct batch_progress *progress, const struct batch_counts *counts, const char *dead_path)
{
    char text[400], hint[5000] = "";
    uint64_t left = counts->total - ended(counts);
    snprintf(text, sizeof text,
             "%llu tasks: %llu had ended before, %llu ran now (%llu ok), %llu dead letters, %llu left, %.1f s",
             (unsigned long long)counts->total, (unsigned long long)counts->before,
             (unsigned long long)(counts->ok + counts->other), (unsigned long long)counts->ok,
             (unsigned long long)counts->dead, (unsigned long long)left,
             (double)(px_now_ns() - progress->began_ns) / 1e9);
    if (counts->dead)
        snprintf(hint, sizeof hint, "'%s' says why %llu tasks have no result; %llu of them may have run.", dead_path,
                 (unsigned long long)counts->dead, (unsigned long long)counts->may_have_run);
    batch_progress_say(progress, false, text, hint);
}
