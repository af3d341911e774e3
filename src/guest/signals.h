/* SPDX-License-Identifier: Apache-2.0 */
/* The limits' first step inside Python: the host's signals become exceptions of the script.
 *
 * They may raise only while the script's code runs. Once its result is being composed a late
 * signal is dropped; the host's second step, SIGKILL, doesn't need our help. */
#ifndef PX_GUEST_SIGNALS_H
#define PX_GUEST_SIGNALS_H

#include <stdbool.h>

#include "guest/script.h"

/* Zygote: Python-level handlers for PX_SIGNAL_TIMEOUT and PX_SIGNAL_CPU, Python's own for SIGINT,
 * and one that does nothing for PX_SIGNAL_NUDGE. 0, or -1 with a Python exception set. */
int px_signals_prepare(void);

/* The limits that the messages name. */
void px_signals_limits(const struct px_script *run);

/* Whether the handlers may raise; returns what held before. */
bool px_signals_allow(bool allow);

/* Forgets the signals that have come and were not handled yet. */
void px_signals_drop(void);

/* How many limits have raised so far, and the last one's exception once more. */
unsigned px_signals_fired(void);
void px_signals_raise_last(void);

#endif
