/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of lexical analysis that decide where a statement begins (The Python Language Reference, chapter 2):
 * strings, comments, brackets, lines that are joined. Two parts that were cut at the beginning of a line and that
 * both compile are the program, since no token, bracket or block can span such a cut. So a mistake here can only cost time.
 * PX_LAST_NO_VALUE has no such check: it is said only for what no expression can have.
 *
 * The compiler warns about some expressions. If the first part does not compile, the program is parsed once more, and
 * the warning would appear twice, so expressions that may cause a warning are PX_LAST_UNKNOWN. */
#include "guest/last_statement.h"

#include <stdint.h>
#include <string.h>

#define BRACKETS_MAX 200     /* brackets in brackets: MAXLEVEL of CPython's tokenizer is 200 too */
#define FSTRING_FIELDS_MAX 8 /* fields of f-strings in f-strings */

/* What was before the place: it decides what a bracket means. */
enum token { TOKEN_OPERATOR, TOKEN_NAME, TOKEN_LITERAL };

struct scanner {
    const char *code;
    size_t length, at;
    bool nested; /* f-strings as in 3.12 */

    /* The statement that the scanner is in. */
    size_t start;
    size_t statements;      /* with this one; the lines of a block do not count */
    bool assigns, doubtful; /* it has a `=`; it has something that only the parser can judge */
    bool several;           /* it has a `;`, so it may be more than one statement */
    enum token last;

    uint8_t depth;
    char closers[BRACKETS_MAX];  /* the bracket that ends each open one */
    bool displays[BRACKETS_MAX]; /* a list, tuple, set or dict, not a call or a subscript */
};

static char peek(const struct scanner *scan, size_t ahead)
{
    return scan->at + ahead < scan->length ? scan->code[scan->at + ahead] : '\0';
}

static bool is_name(char byte)
{
    unsigned char c = (unsigned char)byte;
    return c >= 0x80 || c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static bool is_newline(char byte)
{
    return byte == '\n' || byte == '\r';
}

static bool is_one_of(const char *word, size_t length, const char *const *words)
{
    for (; *words; words++) {
        if (strlen(*words) == length && memcmp(word, *words, length) == 0)
            return true;
    }
    return false;
}

/* Statements that begin with these words have no value. */
static bool is_statement(const char *word, size_t length)
{
    static const char *const words[] = {
        "assert",   "async",  "break",   "class",  "continue", "def",    "del",  "elif",
        "else",     "except", "finally", "for",    "from",     "global", "if",   "import",
        "nonlocal", "pass",   "raise",   "return", "try",      "while",  "with", NULL,
    };
    return is_one_of(word, length, words);
}

/* Words that only the parser can judge: statements whose word may also be a name, parts of expressions that have `=`
 * or `:` outside of brackets, comparisons that may cause a warning. */
static bool is_doubtful(const char *word, size_t length)
{
    static const char *const words[] = {"case", "is", "lambda", "match", "type", NULL};
    return is_one_of(word, length, words);
}

/* Words after which a bracket begins a list or a tuple, as after an operator. */
static bool is_operator(const char *word, size_t length)
{
    static const char *const words[] = {"and", "await", "else", "for", "if", "in", "not", "or", "yield", NULL};
    return is_one_of(word, length, words);
}

/* ---- Strings ---- */

struct string_kind {
    bool formatted, raw;
};

/* True if the word before a quote is a prefix of the string. */
static bool is_prefix(const char *word, size_t length, struct string_kind *ret)
{
    *ret = (struct string_kind){0};
    if (length > 2)
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = (char)(word[i] | 0x20);
        if (!strchr("rbuft", c))
            return false;
        ret->formatted |= c == 'f' || c == 't';
        ret->raw |= c == 'r';
    }
    return true;
}

/* True if a string may have this character after a backslash without a warning. */
static bool is_escape(char byte)
{
    return byte && strchr("\n\r\\'\"abfnrtvxNuU0123", byte);
}

static bool skip_field(struct scanner *scan, int level);

/* Moves behind the string whose first quote is here. Returns false if it does not end. */
static bool skip_string(struct scanner *scan, struct string_kind kind, int level)
{
    char quote = peek(scan, 0);
    bool triple = peek(scan, 1) == quote && peek(scan, 2) == quote;
    scan->at += triple ? 3 : 1;
    while (scan->at < scan->length) {
        char c = peek(scan, 0);
        if (c == '\\') {
            scan->doubtful |= !kind.raw && !is_escape(peek(scan, 1));
            /* \r\n is one newline. */
            scan->at += peek(scan, 1) == '\r' && peek(scan, 2) == '\n' ? 3 : 2;
        } else if (c == quote && (!triple || (peek(scan, 1) == quote && peek(scan, 2) == quote))) {
            scan->at += triple ? 3 : 1;
            return true;
        } else if (c == '{' && kind.formatted && scan->nested) {
            scan->at++;
            if (peek(scan, 0) == '{')
                scan->at++;
            else if (!skip_field(scan, level + 1))
                return false;
        } else if (!triple && is_newline(c)) {
            return false;
        } else {
            scan->at++;
        }
    }
    return false;
}

/* Moves behind the string at whose first quote the scanner is, after a word of `length` bytes. */
static bool skip_prefixed_string(struct scanner *scan, size_t length, int level)
{
    struct string_kind kind;
    return is_prefix(scan->code + scan->at - length, length, &kind) && skip_string(scan, kind, level);
}

/* Moves behind the format of a field of an f-string, whose `}` is included. */
static bool skip_format(struct scanner *scan, int level)
{
    while (scan->at < scan->length) {
        char c = scan->code[scan->at++];
        if (c == '}')
            return true;
        if (c == '"' || c == '\'' || c == '\\' || is_newline(c) || (c == '{' && !skip_field(scan, level + 1)))
            return false;
    }
    return false;
}

/* Moves behind a field of an f-string of CPython 3.12 or later, whose `{` is before this place. */
static bool skip_field(struct scanner *scan, int level)
{
    size_t depth = 0, word = 0;
    while (level < FSTRING_FIELDS_MAX && scan->at < scan->length) {
        char c = peek(scan, 0);
        if (c == '"' || c == '\'') {
            if (!skip_prefixed_string(scan, word, level))
                return false;
            word = 0;
            continue;
        }
        word = is_name(c) ? word + 1 : 0;
        if (c == '#' || c == '\\' || (depth == 0 && (c == ')' || c == ']')))
            return false;
        scan->at++;
        if (depth == 0 && c == '}')
            return true;
        if (depth == 0 && c == ':')
            return skip_format(scan, level);
        depth += strchr("([{", c) != NULL;
        depth -= strchr(")]}", c) != NULL;
    }
    return false;
}

/* ---- Statements ---- */

/* The compiler warns when a literal is called, and about some subscripts of literals. */
static bool open_bracket(struct scanner *scan, char bracket)
{
    if (scan->depth == BRACKETS_MAX)
        return false;
    scan->doubtful |= scan->last == TOKEN_LITERAL && bracket != '{';
    scan->closers[scan->depth] = bracket == '(' ? ')' : bracket == '[' ? ']' : '}';
    scan->displays[scan->depth++] = scan->last == TOKEN_OPERATOR;
    scan->last = TOKEN_OPERATOR;
    return true;
}

static bool close_bracket(struct scanner *scan, char bracket)
{
    if (scan->depth == 0 || scan->closers[scan->depth - 1] != bracket)
        return false;
    scan->last = scan->displays[--scan->depth] ? TOKEN_LITERAL : TOKEN_NAME;
    return true;
}

static void begin_statement(struct scanner *scan)
{
    scan->statements++;
    scan->start = scan->at;
    scan->assigns = scan->doubtful = scan->several = false;
    scan->last = TOKEN_OPERATOR;
}

/* True if a keyword follows a number without a space, as in `1or x`: newer compilers warn. */
static bool touches_keyword(const char *word, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (strchr("ilnrst", word[i] | 0x20))
            return true;
    }
    return false;
}

/* A name, a number, or a string with a prefix. */
static bool take_word(struct scanner *scan)
{
    const char *word = scan->code + scan->at;
    size_t length = 0;
    while (scan->at < scan->length && is_name(peek(scan, 0))) {
        scan->at++;
        length++;
    }
    char next = peek(scan, 0);
    if (next == '"' || next == '\'') {
        scan->last = TOKEN_LITERAL;
        return skip_prefixed_string(scan, length, 0);
    }
    bool number = *word >= '0' && *word <= '9';
    scan->doubtful |= number ? touches_keyword(word, length) : is_doubtful(word, length);
    scan->last = number ? TOKEN_LITERAL : is_operator(word, length) ? TOKEN_OPERATOR : TOKEN_NAME;
    return true;
}

/* A `=` outside of brackets that is not part of a comparison. `lambda` has one too, and is doubtful. */
static bool is_assignment(const struct scanner *scan)
{
    if (scan->depth > 0 || peek(scan, 1) == '=')
        return false;
    char before = scan->at > scan->start ? scan->code[scan->at - 1] : '\0';
    if (before != '=' && before != '!' && before != '<' && before != '>')
        return true;
    /* <<= and >>= assign. */
    return (before == '<' || before == '>') && scan->at - scan->start > 1 && scan->code[scan->at - 2] == before;
}

static bool take_symbol(struct scanner *scan)
{
    char c = peek(scan, 0);
    if (strchr("([{", c) || strchr(")]}", c)) {
        bool valid = strchr("([{", c) ? open_bracket(scan, c) : close_bracket(scan, c);
        scan->at++;
        return valid;
    }
    scan->assigns |= c == '=' && is_assignment(scan);
    scan->doubtful |= scan->depth == 0 && c == ':';
    scan->several |= c == ';';
    scan->last = TOKEN_OPERATOR;
    scan->at++;
    return true;
}

/* Moves behind a backslash and the newline after it. */
static bool join_lines(struct scanner *scan)
{
    char next = peek(scan, 1);
    if (!is_newline(next))
        return false;
    scan->at += next == '\r' && peek(scan, 2) == '\n' ? 3 : 2;
    return scan->at < scan->length;
}

static void skip_comment(struct scanner *scan)
{
    while (scan->at < scan->length && !is_newline(peek(scan, 0)))
        scan->at++;
}

/* Moves behind the next token or space. Returns false where only the parser can judge. */
static bool step(struct scanner *scan, bool *line_begins)
{
    char c = peek(scan, 0);
    if (is_newline(c)) {
        *line_begins = scan->depth == 0;
        scan->at++;
        return true;
    }
    if (c == '#') {
        skip_comment(scan);
        return true;
    }
    if (c == ' ' || c == '\t') {
        /* A statement that belongs to a block */
        *line_begins = false;
        scan->at++;
        return true;
    }
    if (*line_begins && c == '\\')
        return false; /* CPython versions differ in the block that such a line belongs to */
    if (*line_begins)
        begin_statement(scan);
    *line_begins = false;
    if (scan->statements == 0)
        return false; /* indented, which is a mistake */
    if (c == '\\')
        return join_lines(scan);
    if (c == '"' || c == '\'') {
        scan->last = TOKEN_LITERAL;
        return skip_string(scan, (struct string_kind){0}, 0);
    }
    if (is_name(c))
        return take_word(scan);
    return c != '\f' && c != '\0' && take_symbol(scan);
}

static enum px_last_statement judge(const struct scanner *scan, size_t *ret_start)
{
    if (scan->several)
        return PX_LAST_UNKNOWN;
    const char *word = scan->code + scan->start;
    size_t length = 0;
    while (scan->start + length < scan->length && is_name(word[length]))
        length++;
    if (is_statement(word, length) || *word == '@')
        return PX_LAST_NO_VALUE;
    /* eval() does not take `*a, b`, which is a value. A string that is the only statement is also the docstring. */
    bool alone = scan->statements == 1;
    if (scan->doubtful || *word == '*' ||
        (alone && scan->start + length < scan->length && (word[length] == '"' || word[length] == '\'')))
        return PX_LAST_UNKNOWN;
    if (scan->assigns)
        return PX_LAST_NO_VALUE;
    *ret_start = scan->start;
    return alone ? PX_LAST_ALONE : PX_LAST_EXPRESSION;
}

enum px_last_statement px_last_statement_find(const char *code, size_t length, bool nested, size_t *ret_start)
{
    struct scanner scan = {.code = code, .length = length, .nested = nested};
    bool line_begins = true;
    while (scan.at < length) {
        if (!step(&scan, &line_begins))
            return PX_LAST_UNKNOWN;
    }
    if (scan.statements == 0 || scan.depth > 0)
        return PX_LAST_UNKNOWN;
    return judge(&scan, ret_start);
}
