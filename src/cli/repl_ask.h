/* SPDX-License-Identifier: Apache-2.0 */
/* Part of `pyexec repl`: input() and getpass.getpass() of a cell ask the user at the terminal. */
#ifndef PX_CLI_REPL_ASK_H
#define PX_CLI_REPL_ASK_H

#include <stdatomic.h>

#include "pyexec.h"

/* A pyexec_tool_fn for the tool called `input` (docs/tools.md). userdata is an atomic_bool, which is set to false when
 * the user has ended a line: the cursor is then at the start of one. */
void repl_ask(void *userdata, pyexec_tool_call *call);

#endif
