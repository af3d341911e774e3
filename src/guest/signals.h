/* SPDX-License-Identifier: Apache-2.0 */
/* The first step of the limits inside Python: signals of the host become exceptions of the script. They may raise
 * only while the script's code runs. After the result has begun to be made, a late signal is dropped. The host's
 * second step is SIGKILL, which needs nothing here. */
#ifndef PX_GUEST_SIGNALS_H
#define PX_GUEST_SIGNALS_H

#include <stdbool.h>

#include "guest/script.h"

/* Called in the zygote: installs Python-level handlers for PX_SIGNAL_TIMEOUT and PX_SIGNAL_CPU, Python's own
 * handler for SIGINT, and an empty one for PX_SIGNAL_NUDGE. Returns 0, or -1 with a Python exception set. */
int px_signals_prepare(void);

/* Sets the limits that the messages of the exceptions name. */
void px_signals_limits(const struct px_script *run);

/* Sets whether the handlers may raise. Returns the value from before. */
bool px_signals_allow(bool allow);

/* Drops the signals that have come and were not handled yet. */
void px_signals_drop(void);

/* px_signals_fired() returns how many limits have raised an exception so far. px_signals_raise_last() raises the exception of the last one again. */
unsigned px_signals_fired(void);
void px_signals_raise_last(void);

#endif
