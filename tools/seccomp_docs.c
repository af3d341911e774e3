/* SPDX-License-Identifier: Apache-2.0 */
/* docs/syscalls.md. */
#include <stdio.h>

#include "seccomp_compile.h"

static void write_rows(const struct px_row_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        printf("| `%s` | %s | %s | %s |\n", list->rows[i].call, list->rows[i].action.name, list->rows[i].condition,
               list->rows[i].reason);
}

static void write_setups(const struct px_setup *setups, size_t count, const char *only)
{
    for (size_t i = 0; i < count; i++)
        printf("| `%s` | %s%s |\n", setups[i].call, setups[i].use, only);
}

void px_write_markdown(const struct px_docs *docs)
{
    puts("# System calls\n"
         "\n"
         "*Made by `seccomp_gen --markdown` from `src/sandbox/syscalls.def`; edit that.*\n"
         "\n"
         "A script runs under a seccomp filter that allows what CPython, its standard library and\n"
         "the usual scientific packages call. Of everything else:\n"
         "\n"
         "- **errno** rows answer quietly. These are the calls that libraries probe or scripts try:\n"
         "  `EPERM` becomes `PermissionError` in Python; `ENOSYS`, `ENOTTY`, `EINVAL`, `EOPNOTSUPP`\n"
         "  and `ENOMEM` tell the caller that the row names to use another way.\n"
         "- **trap** rows, and every call without a row, end the run: the guard names the call in\n"
         "  the result's `denials`. If the script has blocked SIGSYS the kernel kills it instead.\n"
         "- Numbers that are unknown to pyexec's build answer `ENOSYS`, as an older kernel would.\n"
         "- Calls of another architecture (`int 0x80`) and x32 calls end the run in the same way.\n"
         "- `uretprobe` and `uprobe` (335 and 336 on x86-64) pass every filter on newer kernels (seen\n"
         "  on 6.18), which answer SIGILL and `ENXIO` where root has set no probe.\n"
         "\n"
         "**online** rows are allowed only when networking is allowed (`disable_networking: false`)\n"
         "and answer `EPERM` otherwise. A call with several rows uses the first row whose condition holds.\n"
         "\n"
         "The list was found with `strace -f` on CPython 3.8 to 3.13 importing and exercising the\n"
         "standard library, and on numpy, pandas, scipy, matplotlib, scikit-learn, joblib, numba and\n"
         "psutil; the same scripts then ran under both filters without a trap.\n"
         "`tools/trace-syscalls.sh BUILD` repeats this. For each interpreter it makes a virtual environment\n"
         "with pip, runs the sections of `tools/trace_workload.py` under `strace -f`, and prints every call\n"
         "that it saw with the list's answer. With 3.8.18 to 3.13.0, and the packages that were current for\n"
         "each in November 2026, it saw 104 calls: 93 have a row that allows them, 11 get an errno and the\n"
         "caller uses another way, and none traps. The differences for such scripts are:\n"
         "`subprocess`, `os.fork` and `multiprocessing` processes raise `PermissionError` (joblib's\n"
         "and scikit-learn's `n_jobs` then need the threading backend). Sockets raise it unless\n"
         "networking is allowed. `os.mkfifo`, `os.nice`, `os.chown`, `os.splice` and\n"
         "`os.sched_setaffinity` always raise it. Extended attributes are not supported.\n"
         "\n"
         "The filter is checked against the list three times. When it is compiled, it is run on every number,\n"
         "with arguments that are equal to, or next to, each value in a rule. In the unit tests the kernel\n"
         "runs it. And `tests/kernel/test_syscall_sweep.py` makes calls from native code inside a sandbox, with\n"
         "every number up to 1023, the x32 numbers, negative numbers and numbers with a set upper half (1,632\n"
         "numbers, 15,034 calls with harmless and odd arguments, offline and online). Each call must get the\n"
         "answer that the list says, each trap must be named with its number and Python line, and each\n"
         "end of a run must be explained.\n"
         "\n"
         "arm64 has the same list, without the older calls that it lacks (such as `open`, `fork` and\n"
         "`chmod`), and no x32. There the sweep tries every number up to 511 in an emulated machine with\n"
         "Linux 6.1 (526 numbers, 11,568 calls offline), and `tests/kernel/test_arm64_calls.py` traces the\n"
         "sections. With CPython 3.11 and the sections of the standard library it saw 87 calls: 83 have a\n"
         "row that allows them, 4 get an errno, and none ends a run. numpy and the others were not traced.\n"
         "\n"
         "| call | action | when | reason |\n|---|---|---|---|");
    write_rows(&docs->all);
    puts("\n## Sessions that can be forked\n"
         "\n"
         "In a session with `forkable` these rows replace those of the same calls ([branches.md](branches.md)).\n"
         "**notify** rows ask the family's process, which lets the call pass or answers `EPERM`.\n"
         "\n"
         "| call | action | when | reason |\n|---|---|---|---|");
    write_rows(&docs->with_branches);
    puts(
        "\n## Runs with allowed_hosts\n"
        "\n"
        "In a run with `allowed_hosts` these rows replace those of the same calls ([network.md](network.md)). All others are as\n"
        "without network.\n"
        "\n"
        "| call | action | when | reason |\n|---|---|---|---|");
    write_rows(&docs->by_name);
    puts("\n## Set-up\n"
         "\n"
         "The zygote's filter allows these calls too. Each child then installs a second, small filter with the\n"
         "rows above for these calls, before it reads the first byte of the caller.\n"
         "\n"
         "| call | used for |\n|---|---|");
    write_setups(docs->setups, docs->setup_count, "");
    write_setups(docs->setups_by_name, docs->setup_by_name_count, ", only for runs with allowed_hosts");
}
