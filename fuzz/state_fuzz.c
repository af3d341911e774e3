/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a state file of `pyexec serve`. The table that is read must be within its limits, and must be the same after it was written
 * and read again. */
#include "base/cleanup.h"
#include "fuzz.h"
#include "serve/state_table.h"

static void require_bounds(const struct px_state_table *table)
{
    const char *key;
    json_t *value;
    require(json_object_size(table->live) <= PX_STATE_LIVE_MAX && json_object_size(table->ended) <= PX_STATE_ENDED_MAX);
    json_object_foreach(table->live, key, value)
        require(strlen(key) <= 193 && !json_object_get(table->ended, key));
    json_object_foreach(table->ended, key, value)
        require(strlen(key) <= 193 && json_string_length(value) >= 1 && json_string_length(value) <= 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct px_state_table table, again;
    struct px_buffer px_auto_buffer text = {0};
    size_t bad = 0;
    /* A copy of exactly this length, so that AddressSanitizer reports each read beyond its end. */
    px_auto_free char *bytes = malloc(size ? size : 1);
    require(bytes && px_state_table_init(&table) == 0 && px_state_table_init(&again) == 0);
    memcpy(bytes, data, size);
    if (px_state_table_read(&table, bytes, size, &bad) == 0) {
        require_bounds(&table);
        require(bad <= size);
        px_state_table_write(&table, &text);
        require(px_state_table_read(&again, px_buffer_string(&text), text.length, &bad) == 0 && bad == 0);
        require(json_equal(table.live, again.live) && json_equal(table.ended, again.ended));
    }
    px_state_table_done(&table);
    px_state_table_done(&again);
    return 0;
}
