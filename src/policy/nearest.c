/* The known name that a misspelt one was probably meant to be. */
#include <string.h>

#include "policy/fields.h"

/* No name of a table is longer; a misspelt one that is has nothing near it. */
#define NAME_MAX_LENGTH 48

/* Letters of either case are alike, and so are '-' and '_'. */
static char folded(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c == '-' ? '_' : c;
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Levenshtein distance, with one row of the matrix at a time. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t row[NAME_MAX_LENGTH + 1];
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t above = row[j];
            size_t change = folded(a[i - 1]) == folded(b[j - 1]) ? 0 : 1;
            row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + change);
            diagonal = above;
        }
    }
    return row[b_length];
}

static void offer(const char *wanted, const char *known, size_t *best, bool *ret_better)
{
    size_t wanted_length = strlen(wanted), length = strlen(known);
    *ret_better = false;
    if (length > NAME_MAX_LENGTH)
        return;
    /* More than a third of it wrong is another word. */
    size_t limit = (wanted_length > length ? wanted_length : length) / 3;
    size_t here = distance(wanted, wanted_length, known, length);
    /* The beginning of a name is that name, cut short. */
    if (wanted_length >= 4 && wanted_length < length && strncmp(wanted, known, wanted_length) == 0)
        here = 1;
    if (here <= limit && here < *best) {
        *best = here;
        *ret_better = true;
    }
}

size_t px_table_nearest(const struct px_table *table, const char *name, bool *ret_alias)
{
    size_t found = table->count, best = SIZE_MAX;
    *ret_alias = false;
    if (strnlen(name, NAME_MAX_LENGTH + 1) > NAME_MAX_LENGTH)
        return found;
    for (size_t i = 0; i < table->count; i++) {
        const struct px_field_info *info = &table->fields[i].info;
        bool better;
        offer(name, info->name, &best, &better);
        if (better) {
            found = i;
            *ret_alias = false;
        }
        if (!info->alias)
            continue;
        offer(name, info->alias, &best, &better);
        if (better) {
            found = i;
            *ret_alias = true;
        }
    }
    return found;
}
