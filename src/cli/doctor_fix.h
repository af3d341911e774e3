/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec doctor --fix: what to change on this machine so that the layers hold. */
#ifndef PX_CLI_DOCTOR_FIX_H
#define PX_CLI_DOCTOR_FIX_H

#include <stdbool.h>

/* Prints the plan, and for each step how it weakens the machine. Carries it out if `yes` is set or the user at
 * the terminal agrees. `unit`: a systemd service that gets a delegated cgroup, or NULL. Returns the exit
 * status: 0 when nothing is left to do, CLI_EXIT_UNSAFE when the plan was only printed, or CLI_EXIT_FAILED. */
int cli_doctor_fix(bool yes, const char *unit);

#endif
