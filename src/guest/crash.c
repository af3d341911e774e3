/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/crash.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "guest/guard/guard.h"
#include "protocol/wire.h"

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static uint64_t limit;
static struct px_wire_writer writer;

/* True if a quarter of the limit can't be mapped any more. */
static bool used_up(void)
{
    if (limit == UINT64_MAX)
        return false;
    void *probe = mmap(NULL, limit / 4, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe == MAP_FAILED)
        return true;
    munmap(probe, limit / 4);
    return false;
}

/* SA_RESETHAND has already restored the default action. So a second fault in this function ends the process, and
 * so does the first one: when this function returns, the same instruction faults again. */
static void on_crash(int number)
{
    /* abort() first raises SIGABRT and then, in a process that is PID 1, causes a fault. The first signal tells
     * the reason. */
    static volatile sig_atomic_t told;
    if (told)
        return;
    told = 1;
    uint8_t note[2] = {(uint8_t)number, used_up()};
    px_wire_put(&writer, PX_RESULT_CRASH, note, sizeof note);
    px_wire_flush(&writer);
    if (px_has_gil()) {
        int32_t line = px_guard_script_line();
        px_wire_put(&writer, PX_RESULT_ERROR_LINE, &line, sizeof line);
        px_wire_flush(&writer);
    }
}

int px_crash_install(int channel, uint64_t address_space_bytes)
{
    /* The handler needs its own stack because the thread's stack may have overflowed (sigaltstack(2)). AVX-512 and
     * AMX make signal frames large. */
    static char stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = (int)(SA_ONSTACK | SA_RESETHAND | SA_NODEFER)};
    limit = address_space_bytes;
    writer.socket = channel;
    if (sigaltstack(&alternate, NULL) < 0)
        return -1;
    for (size_t i = 0; i < PX_COUNT(signals); i++)
        if (sigaction(signals[i], &action, NULL) < 0)
            return -1;
    return 0;
}
