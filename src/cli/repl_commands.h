/* SPDX-License-Identifier: Apache-2.0 */
/* Part of `pyexec repl`: the commands %fork, %sessions, %switch and %undo. */
#ifndef PX_CLI_REPL_COMMANDS_H
#define PX_CLI_REPL_COMMANDS_H

#include <stdbool.h>

#include "pyexec.h"

/* The sessions of the prompt. Cells run in the current one. */
struct repl_sessions {
    pyexec_executor *executor;
    bool forkable; /* by the policy */
    char current[129];
    unsigned made; /* how many ids were made up */
};

/* Runs a cell that is a command, and shows its answer. Returns false when the cell is Python: a command begins with '%'. */
bool repl_command(struct repl_sessions *sessions, const char *cell);

#endif
