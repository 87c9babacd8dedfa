/*
 * table.c - rows of cells, aligned in columns.
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
};

struct table *table_new(void)
{
    return xnew(struct table);
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

void table_print(const struct table *t)
{
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct row *row = &t->rows[i];
        for (size_t c = 0; c + 1 < row->n; c++)
            printf("%-*s", (int)t->widths[c] + COLUMN_GAP, row->cells[c]);
        if (row->n > 0)
            puts(row->cells[row->n - 1]);
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
