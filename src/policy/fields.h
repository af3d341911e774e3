/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of settings: the form into which policy.def, host.def, session.def and serve.def are expanded, and the
 * functions that work on each of them. Private to the policy room. A table describes the members of one struct by
 * offset, so that reading, writing, copying and describing are written once for all structs. */
#ifndef PX_POLICY_FIELDS_H
#define PX_POLICY_FIELDS_H

#include "base/host_entry.h"
#include "policy/config.h"
#include "policy/policy.h"

/* The maximum length of one value. It is limited because a set is searched name by name. */
#define PX_FIELD_NAME_MAX 255
#define PX_NAMES_MAX 1024
#define PX_STRING_MAX 4096

/* The C types that a member can have. */
enum px_shape {
    PX_SHAPE_STRING,  /* char *, owned; NULL where null is allowed */
    PX_SHAPE_NUMBER,  /* int64_t; PX_NONE where null is allowed */
    PX_SHAPE_BOOLEAN, /* bool */
    PX_SHAPE_STRINGS, /* struct px_strings */
};

struct px_unit {
    const char *name; /* lower case; "" if a number without a unit is accepted */
    int64_t factor;
};

struct px_kind {
    const char *name;
    enum px_shape shape;
    const char *accepts;                            /* ends the sentence "accepted is …"; the range is added to it */
    const char *hint;                               /* NULL: the table's own text */
    const struct px_unit *units;                    /* for numbers; the last name is NULL */
    bool (*valid)(const char *text, size_t length); /* for strings and the items of a list */
};

extern const struct px_kind px_kind_string, px_kind_duration, px_kind_integer, px_kind_size, px_kind_boolean,
    px_kind_names, px_kind_list, px_kind_hosts, px_kind_layers, px_kind_uid_range, px_kind_cgroup, px_kind_path,
    px_kind_addresses, px_kind_texts, px_kind_networks, px_kind_log_format, px_kind_server, px_kind_environment,
    px_kind_environments;

struct px_field {
    struct px_field_info info;
    const struct px_kind *kind;
    size_t offset;
};

/* One row of such a table; `key` is the JSON key, `member` that of the struct. */
#define PX_ROW(type, kind_, member, key, alias_, default_, minimum_, maximum_, nullable_, meaning_) \
    { \
        .info = {.name = (key), \
                 .alias = sizeof(alias_) > 1 ? (alias_) : NULL, \
                 .kind = #kind_, \
                 .default_text = (default_), \
                 .meaning = (meaning_), \
                 .minimum = (minimum_), \
                 .maximum = (maximum_), \
                 .nullable = (nullable_)}, \
        .kind = &px_kind_##kind_, .offset = offsetof(type, member) \
    }

struct px_table {
    const char *name;  /* name of the section in the configuration */
    const char *about; /* one sentence for the configuration file */
    const char *hint;  /* where its keys are documented */
    const struct px_field *fields;
    size_t count;
    size_t size; /* size of the struct in bytes */
};

extern const struct px_table px_policy_table, px_host_table, px_session_config_table, px_serve_config_table,
    px_mcp_config_table, px_telemetry_config_table, px_cli_config_table, px_env_config_table, px_egress_config_table,
    px_nats_config_table;

static inline void *px_field_in(const struct px_field *field, void *base)
{
    return (char *)base + field->offset;
}

static inline const void *px_field_of(const struct px_field *field, const void *base)
{
    return (const char *)base + field->offset;
}

/* Functions for whole structs. After init or copy, also after one that failed, call px_table_done. */
int px_table_init(const struct px_table *table, void *base, pyexec_error *error);
int px_table_copy(const struct px_table *table, void *ret, const void *from, pyexec_error *error);
bool px_table_equal(const struct px_table *table, const void *one, const void *other);
void px_table_done(const struct px_table *table, void *base);
json_t *px_table_to_json(const struct px_table *table, const void *base);
int px_table_merge_json(const struct px_table *table, void *base, const json_t *object, pyexec_error *error);
int px_table_set_text(const struct px_table *table, void *base, const char *name, const char *text,
                      pyexec_error *error);
/* True if every value is one that the parser would accept. */
int px_table_check(const struct px_table *table, const void *base, pyexec_error *error);

/* Returns the row with this name or alias ('-' and '_' are equal), or table->count. */
size_t px_table_find(const struct px_table *table, const char *name);
/* Returns the row with exactly this key. */
size_t px_table_find_key(const struct px_table *table, const char *key);
/* Sets invalid_policy: there is no such key. Names the most similar one. */
int px_table_unknown(const struct px_table *table, const char *name, bool json, pyexec_error *error);

/* Sets one value. On failure the member keeps its old value. */
int px_field_set_text(const struct px_table *table, const struct px_field *field, void *member, const char *text,
                      pyexec_error *error);
int px_field_set_json(const struct px_table *table, const struct px_field *field, void *member, const json_t *value,
                      pyexec_error *error);
/* Copies the value of another member of the same kind. */
int px_field_replace(const struct px_field *field, void *member, const void *from, pyexec_error *error);
/* Reads an entry of allowed_hosts (kinds.c). Returns NULL, or why it can't be one, such as "it is empty". */
const char *px_field_host(const char *text, size_t length, char ret[PX_HOST_ENTRY_MAX + 3]);
/* Returns NULL when there is no memory. */
json_t *px_field_to_json(const struct px_field *field, const void *member);
/* Adds the items of a comma-separated text to `list`. */
int px_field_add_items(const struct px_table *table, const struct px_field *field, struct px_strings *list,
                       const char *text, pyexec_error *error);
bool px_field_in_range(const struct px_field *field, int64_t value);
/* Sets invalid_policy with the key, the value (as `shown`) and what is accepted. */
int px_field_refuse(const struct px_table *table, const struct px_field *field, const char *shown, pyexec_error *error);

/* Appends what a field accepts: "an integer from 1 to 86400, or none". */
void px_field_accepts(const struct px_field *field, struct px_buffer *out);

/* Makes a value that can be put into a message: quoted, of limited length, valid UTF-8, without control
 * characters. */
#define PX_SHOWN_MAX 128
const char *px_show(const char *bytes, size_t length, char shown[PX_SHOWN_MAX]);

#endif
