/* SPDX-License-Identifier: Apache-2.0 */
/* Every function here walks the expected value and the sent one side by side, and goes no deeper than the expected one,
 * whose depth is limited. */
#include "result/compare.h"

#include <ctype.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

#define LINE_TOLERANCE 1e-5 /* of lines, relative to the expected number */

/* ---- Numbers ---- */

struct number {
    bool whole;         /* an integer: `digits` has it, with a minus sign if it is negative */
    char small[32];     /* room for the digits of 64 bits */
    const char *digits; /* without zeros at the start; "-0" never */
    double real;        /* the nearest double */
};

static bool is_close(const struct px_compare *compare, double a, double b)
{
    if (a == b || (isnan(a) && isnan(b)))
        return true;
    if (isinf(a) || isinf(b))
        return false;
    double greater = fabs(a) > fabs(b) ? fabs(a) : fabs(b), relative = compare->rel * greater;
    return fabs(a - b) <= (relative > compare->abs ? relative : compare->abs);
}

/* From 2^53 on, every double is a whole number. */
static bool is_whole(double real)
{
    return isfinite(real) && (fabs(real) >= 9007199254740992.0 || real == (double)(int64_t)real);
}

/* True if the whole number is this double, without rounding. */
static bool is_exactly(const struct number *whole, double real)
{
    char text[400];
    if (!is_whole(real))
        return false;
    snprintf(text, sizeof text, "%.0f", real == 0 ? 0.0 : real); /* all digits: a whole double has no others */
    return strcmp(text, whole->digits) == 0;
}

static bool same_number(const struct px_compare *compare, const struct number *expected, const struct number *sent)
{
    if (expected->whole && sent->whole && strcmp(expected->digits, sent->digits) == 0)
        return true;
    /* A whole number that is too large for a double is close to no other. */
    if ((expected->whole && isinf(expected->real)) || (sent->whole && isinf(sent->real)))
        return false;
    if (compare->how == PX_COMPARE_NUMBERS)
        return is_close(compare, expected->real, sent->real);
    if (expected->whole && sent->whole)
        return false;
    if (expected->whole || sent->whole)
        return expected->whole ? is_exactly(expected, sent->real) : is_exactly(sent, expected->real);
    return expected->real == sent->real || (isnan(expected->real) && isnan(sent->real));
}

/* strtod() reads the decimal point of the program's locale. Returns false when the text is not a number as a whole. */
static bool read_real(const char *text, size_t length, double *ret)
{
    char copy[400], *end;
    if (!length || length >= sizeof copy)
        return false;
    for (size_t i = 0; i < length; i++)
        copy[i] = text[i] == '.' ? *localeconv()->decimal_point : text[i];
    copy[length] = '\0';
    const char *digits = copy + (*copy == '-' || *copy == '+');
    bool word = strcasecmp(digits, "nan") == 0 || strcasecmp(digits, "inf") == 0 || strcasecmp(digits, "infinity") == 0;
    if (!word && strspn(digits, "0123456789.,eE+-") != strlen(digits))
        return false;
    *ret = strtod(copy, &end);
    return !*end;
}

static bool is_integer_text(const char *text)
{
    const char *digits = text + (*text == '-');
    return *digits && strspn(digits, "0123456789") == strlen(digits) &&
           (digits[0] != '0' || (!digits[1] && text == digits));
}

/* Returns the member of a form, or NULL when the value is not that form. */
static const json_t *form(const json_t *value, const char *name)
{
    return json_object_size(value) == 1 ? json_object_get(value, name) : NULL;
}

static bool read_number(const json_t *value, struct number *ret)
{
    *ret = (struct number){0};
    const char *digits = json_string_value(form(value, "$int")), *word = json_string_value(form(value, "$float"));
    if (json_is_integer(value)) {
        snprintf(ret->small, sizeof ret->small, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        digits = ret->small;
    }
    if (digits) {
        ret->whole = is_integer_text(digits);
        ret->digits = digits;
        ret->real = json_is_integer(value) ? (double)json_integer_value(value) : strtod(digits, NULL);
        return ret->whole;
    }
    if (word)
        return read_real(word, strlen(word), &ret->real);
    ret->real = json_real_value(value);
    return json_is_real(value);
}

/* ---- Texts ---- */

static size_t without_line_ends(const char *text, size_t length)
{
    while (length && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        length--;
    return length;
}

struct word_walk {
    const char *at, *end;
};

static bool next_word(struct word_walk *words, const char **ret, size_t *ret_length)
{
    while (words->at < words->end && isspace((unsigned char)*words->at))
        words->at++;
    *ret = words->at;
    while (words->at < words->end && !isspace((unsigned char)*words->at))
        words->at++;
    *ret_length = (size_t)(words->at - *ret);
    return *ret_length > 0;
}

static bool same_word(const struct px_compare *compare, const char *expected, size_t expected_length, const char *sent,
                      size_t sent_length)
{
    double a, b;
    if (expected_length == sent_length && memcmp(expected, sent, sent_length) == 0)
        return true;
    return compare->how == PX_COMPARE_NUMBERS && read_real(expected, expected_length, &a) &&
           read_real(sent, sent_length, &b) && is_close(compare, a, b);
}

static void strip(const char **text, size_t *length)
{
    while (*length && isspace((unsigned char)**text)) {
        (*text)++;
        (*length)--;
    }
    while (*length && isspace((unsigned char)(*text)[*length - 1]))
        (*length)--;
}

static unsigned char small_letter(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

/* Small and capital letters of ASCII are the same. A NUL is a byte like others. */
static bool same_letters(const char *a, const char *b, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (small_letter(a[i]) != small_letter(b[i]))
            return false;
    return true;
}

/* The whole line may be one number, which need only be close. */
static bool same_line(const char *expected, size_t expected_length, const char *sent, size_t sent_length)
{
    double a, b;
    strip(&expected, &expected_length);
    strip(&sent, &sent_length);
    if (expected_length == sent_length && same_letters(expected, sent, sent_length))
        return true;
    return read_real(expected, expected_length, &a) && read_real(sent, sent_length, &b) &&
           fabs(b - a) < LINE_TOLERANCE * (fabs(a) > 1e-10 ? fabs(a) : 1e-10);
}

static size_t line_length(const char *text, size_t length)
{
    const char *end = length ? memchr(text, '\n', length) : NULL;
    return end ? (size_t)(end - text) : length;
}

static bool same_lines(const char *expected, size_t expected_length, const char *sent, size_t sent_length)
{
    strip(&expected, &expected_length);
    strip(&sent, &sent_length);
    for (;;) {
        size_t left = line_length(expected, expected_length), right = line_length(sent, sent_length);
        if (!same_line(expected, left, sent, right) || (left == expected_length) != (right == sent_length))
            return false;
        if (left == expected_length)
            return true;
        expected += left + 1;
        expected_length -= left + 1;
        sent += right + 1;
        sent_length -= right + 1;
    }
}

bool px_compare_text(const struct px_compare *compare, const char *expected, size_t expected_length, const char *sent,
                     size_t sent_length)
{
    if (compare->how == PX_COMPARE_LINES)
        return same_lines(expected, expected_length, sent, sent_length);
    if (compare->how == PX_COMPARE_EXACT) {
        expected_length = without_line_ends(expected, expected_length);
        sent_length = without_line_ends(sent, sent_length);
        return expected_length == sent_length && memcmp(expected, sent, sent_length) == 0;
    }
    struct word_walk left = {expected, expected + expected_length}, right = {sent, sent + sent_length};
    for (;;) {
        const char *a, *b;
        size_t a_length, b_length;
        bool more = next_word(&left, &a, &a_length);
        if (next_word(&right, &b, &b_length) != more)
            return false;
        if (!more)
            return true;
        if (!same_word(compare, a, a_length, b, b_length))
            return false;
    }
}

/* ---- Lists ---- */

static bool same_items(const struct px_compare *compare, const json_t *expected, const json_t *sent)
{
    const json_t *item;
    size_t i;
    if (!json_is_array(sent) || json_array_size(expected) != json_array_size(sent))
        return false;
    json_array_foreach(expected, i, item)
        if (!px_compare_value(compare, item, json_array_get(sent, i)))
            return false;
    return true;
}

/* An item of a set or a pair of a dict, with what it is sorted by: numbers by value, then everything else by its text. */
struct sorted {
    const json_t *item;
    bool number;
    double real;
    char *text;
};

static int by_key(const void *left, const void *right)
{
    const struct sorted *a = left, *b = right;
    if (a->number != b->number)
        return a->number ? -1 : 1;
    if (a->number && a->real != b->real)
        return a->real < b->real ? -1 : 1;
    return strcmp(a->text, b->text);
}

static void free_sorted(struct sorted *items, size_t count)
{
    for (size_t i = 0; items && i < count; i++)
        free(items[i].text);
    free(items);
}

/* Sorts the items of a list; pairs by their keys. NULL without memory, or when the list is empty. */
static struct sorted *sort(const json_t *list, bool pairs)
{
    size_t count = json_array_size(list), made = 0;
    struct sorted *items = calloc(count ? count : 1, sizeof *items);
    for (; items && made < count; made++) {
        const json_t *item = json_array_get(list, made), *key = pairs ? json_array_get(item, 0) : item;
        struct number number;
        items[made].item = item;
        items[made].number = read_number(key, &number) && !isnan(number.real);
        items[made].real = number.real;
        items[made].text = px_json_dumps(key, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
        if (!items[made].text) {
            free_sorted(items, made);
            return NULL;
        }
    }
    if (items)
        qsort(items, count, sizeof *items, by_key);
    return items;
}

/* Compares without regard to the order. */
static bool same_members(const struct px_compare *compare, const json_t *expected, const json_t *sent, bool pairs)
{
    size_t count = json_array_size(expected);
    if (!json_is_array(sent) || json_array_size(sent) != count)
        return false;
    struct sorted *left = sort(expected, pairs), *right = left ? sort(sent, pairs) : NULL;
    bool same = left && right;
    for (size_t i = 0; i < count && same; i++)
        same = pairs ? same_items(compare, left[i].item, right[i].item)
                     : px_compare_value(compare, left[i].item, right[i].item);
    free_sorted(left, count);
    free_sorted(right, count);
    return same;
}

/* ---- Dicts ---- */

/* Returns the pairs of a dict in either form: a new list. With `as_text`, keys that are integers become strings. */
static json_t *pairs_of(const json_t *value, bool as_text)
{
    const json_t *pairs = form(value, "$dict");
    json_t *list = json_array(), *item;
    const char *key;
    size_t i;
    if (!pairs) {
        json_object_foreach((json_t *)(uintptr_t)value, key, item)
            px_json_append(list, json_pack("[s, O]", key, item));
        return list;
    }
    json_array_foreach(pairs, i, item) {
        struct number number;
        json_t *name = json_array_get(item, 0);
        bool whole = as_text && read_number(name, &number) && number.whole;
        px_json_append(list, whole ? json_pack("[s, O?]", number.digits, json_array_get(item, 1))
                                   : json_pack("[O?, O?]", name, json_array_get(item, 1)));
    }
    return list;
}

static bool same_dicts(const struct px_compare *compare, const json_t *expected, const json_t *sent)
{
    const char *key;
    json_t *value;
    if (form(expected, "$dict") || form(sent, "$dict")) {
        px_auto_json json_t *left = pairs_of(expected, false), *right = pairs_of(sent, !form(expected, "$dict"));
        return left && right && same_members(compare, left, right, true);
    }
    if (json_object_size(expected) != json_object_size(sent))
        return false;
    json_object_foreach((json_t *)(uintptr_t)expected, key, value) {
        const json_t *other = json_object_get(sent, key);
        if (!other || !px_compare_value(compare, value, other))
            return false;
    }
    return true;
}

static bool is_other_form(const json_t *value)
{
    return form(value, "$tuple") || form(value, "$set") || form(value, "$bytes") || form(value, "$int") ||
           form(value, "$float");
}

bool px_compare_value(const struct px_compare *compare, const json_t *expected, const json_t *sent)
{
    struct number left, right;
    const json_t *tuple = form(sent, "$tuple"), *part;
    if (!sent)
        return false;
    if (read_number(expected, &left))
        return read_number(sent, &right) && same_number(compare, &left, &right);
    if (json_is_string(expected))
        return json_is_string(sent) &&
               px_compare_text(compare, json_string_value(expected), json_string_length(expected),
                               json_string_value(sent), json_string_length(sent));
    if (json_is_array(expected))
        return same_items(compare, expected, tuple ? tuple : sent);
    if ((part = form(expected, "$tuple")))
        return tuple && same_items(compare, part, tuple);
    if ((part = form(expected, "$set")))
        return same_members(compare, part, form(sent, "$set"), false);
    if ((part = form(expected, "$bytes")))
        return json_equal(part, form(sent, "$bytes"));
    if (json_is_object(expected))
        return json_is_object(sent) && !is_other_form(sent) && same_dicts(compare, expected, sent);
    return json_typeof(expected) == json_typeof(sent); /* null, true, false */
}

/* ---- The caller's values ---- */

static const char *check_value(const json_t *value, int depth);

static const char *check_items(const json_t *list, int depth)
{
    const json_t *item;
    const char *wrong;
    size_t i;
    json_array_foreach(list, i, item)
        if ((wrong = check_value(item, depth)))
            return wrong;
    return NULL;
}

static const char *check_pairs(const json_t *list, int depth)
{
    const json_t *pair;
    const char *wrong;
    size_t i;
    json_array_foreach(list, i, pair) {
        if (json_array_size(pair) != 2)
            return "$dict takes a list of pairs, [[key, value], ...]";
        if ((wrong = check_items(pair, depth)))
            return wrong;
    }
    return NULL;
}

/* `key` is the only key of an object and begins with one "$". */
static const char *check_form(const char *key, const json_t *value, int depth)
{
    double real;
    const char *text = json_string_value(value);
    if (strcmp(key, "$tuple") == 0 || strcmp(key, "$set") == 0)
        return json_is_array(value) ? check_items(value, depth) : "$tuple and $set take a list";
    if (strcmp(key, "$dict") == 0)
        return json_is_array(value) ? check_pairs(value, depth) : "$dict takes a list of pairs, [[key, value], ...]";
    if (strcmp(key, "$int") == 0)
        return text && is_integer_text(text) && strlen(text) <= 4300 ? NULL
                                                                     : "$int takes a string of at most 4300 digits";
    if (strcmp(key, "$float") == 0)
        return text && read_real(text, strlen(text), &real) ? NULL : "$float takes \"nan\", \"inf\" or \"-inf\"";
    if (strcmp(key, "$bytes") == 0)
        return text ? NULL : "$bytes takes a string of base64";
    return "a key that begins with '$' is written with another '$' before it";
}

static const char *check_value(const json_t *value, int depth)
{
    const char *key, *wrong;
    json_t *member;
    if (depth > PX_COMPARE_DEPTH_MAX)
        return "nested more than 100 deep";
    if (json_is_array(value))
        return check_items(value, depth + 1);
    json_object_foreach((json_t *)(uintptr_t)value, key, member) {
        bool special = key[0] == '$' && key[1] != '$';
        if (special && json_object_size(value) > 1)
            return "a key that begins with '$' is written with another '$' before it";
        wrong = special ? check_form(key, member, depth + 1) : check_value(member, depth + 1);
        if (wrong)
            return wrong;
    }
    return NULL;
}

const char *px_compare_check(const json_t *value)
{
    return check_value(value, 0);
}
