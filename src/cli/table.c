/*
 * table.c - rows of cells, aligned in columns; on a terminal the words of a status have colours.
 */
#include "cli.h"

#include <stdio.h>

#define COLUMNS_MAX 16
#define COLUMN_GAP 3

struct row {
    char *cells[COLUMNS_MAX];
    size_t n;
};

struct table {
    struct row *rows;
    size_t n_rows;
    size_t widths[COLUMNS_MAX];
    int status_column; /* -1: none */
};

struct table *table_new(void)
{
    struct table *t = xnew(struct table);

    t->status_column = -1;
    return t;
}

void table_row(struct table *t, ...)
{
    struct row *row = array_push(&t->rows, &t->n_rows, sizeof(*t->rows));
    va_list ap;

    va_start(ap, t);
    for (const char *cell; row->n < COLUMNS_MAX && (cell = va_arg(ap, const char *)); row->n++) {
        row->cells[row->n] = format_clean(cell);
        size_t width = strlen(row->cells[row->n]);
        if (width > t->widths[row->n])
            t->widths[row->n] = width;
    }
    va_end(ap);
}

void table_status_column(struct table *t, int column)
{
    t->status_column = column;
}

bool terminal_has_colors(void)
{
    /* no-color.org */
    return isatty(STDOUT_FILENO) && str_empty(getenv("NO_COLOR")) &&
           !str_equal(getenv("TERM"), "dumb");
}

/* Green is well, yellow is on the way, red is what somebody should look at. */
static const char *color_of(const char *word)
{
    static const char *const well[] = {"Running", "Completed", "Succeeded"};
    static const char *const on_the_way[] = {"Pending", "ContainerCreating", "PodInitializing",
                                             "Terminating"};

    for (size_t i = 0; i < ARRAY_SIZE(well); i++)
        if (str_equal(word, well[i]))
            return "\033[32m";
    for (size_t i = 0; i < ARRAY_SIZE(on_the_way); i++)
        if (str_equal(word, on_the_way[i]))
            return "\033[33m";
    return "\033[31m";
}

void table_print(const struct table *t)
{
    int colored = terminal_has_colors() ? t->status_column : -1;

    for (size_t i = 0; i < t->n_rows; i++) {
        const struct row *row = &t->rows[i];
        for (size_t c = 0; c < row->n; c++) {
            bool paint = i > 0 && (int)c == colored;
            int width = c + 1 < row->n ? (int)t->widths[c] + COLUMN_GAP : 0;
            printf("%s%-*s%s", paint ? color_of(row->cells[c]) : "", width, row->cells[c],
                   paint ? "\033[0m" : "");
        }
        if (row->n > 0)
            puts("");
    }
}

void table_free(struct table *t)
{
    for (size_t i = 0; i < t->n_rows; i++)
        for (size_t c = 0; c < t->rows[i].n; c++)
            free(t->rows[i].cells[c]);
    free(t->rows);
    free(t);
}
