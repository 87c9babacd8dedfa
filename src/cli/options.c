/*
 * options.c - the command line's grammar: --name VALUE, --name=VALUE, -n VALUE, flags, in any
 * place; flags of one letter may stand together (-it).
 */
#include "cli.h"

#define OPTIONS_MAX 32

static const struct option_spec *find(const char *argument, size_t name_len,
                                      const struct option_spec *specs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (argument[1] != '-') {
            if (specs[i].letter && argument[1] == specs[i].letter && name_len == 2)
                return &specs[i];
        } else if (strlen(specs[i].name) == name_len &&
                   strncmp(specs[i].name, argument, name_len) == 0) {
            return &specs[i];
        }
    }
    return NULL;
}

static int unknown(const char *argument, size_t name_len, const struct option_spec *specs, size_t n,
                   struct err *e)
{
    const char *names[OPTIONS_MAX + 1] = {NULL};
    _cleanup_free_ char *name = xstrndup(argument, name_len);

    for (size_t i = 0; i < n && i < OPTIONS_MAX; i++)
        names[i] = specs[i].name;
    const char *near = str_closest(name, names);
    return err_set(e, ERR_INVALID_ARGUMENT, "unknown option %s%s%s%s", name,
                   near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
}

int options_parse(char **argv, int *n, const struct option_spec *specs, size_t n_specs,
                  struct err *e)
{
    int kept = 0, i = 0;

    for (; i < *n; i++) {
        char *argument = argv[i];
        if (argument[0] != '-' || argument[1] == '\0') {
            argv[kept++] = argument;
            continue;
        }
        if (str_equal(argument, "--"))
            break; /* kept, so that a command can tell what stood behind it */
        size_t name_len = argument[1] == '-' ? strcspn(argument, "=") : 2;
        const struct option_spec *spec = find(argument, name_len, specs, n_specs);
        if (!spec)
            return unknown(argument, argument[1] == '-' ? name_len : strlen(argument), specs,
                           n_specs, e);
        const char *attached = argument[name_len] == '=' ? argument + name_len + 1
                               : argument[name_len]      ? argument + name_len
                                                         : NULL;
        if (spec->flag) {
            *spec->flag = true;
            if (attached && argument[1] != '-') { /* -it: as if -i -t */
                argv[i] = argument + 1;
                argv[i][0] = '-';
                i--;
                continue;
            }
            if (attached)
                return err_set(e, ERR_INVALID_ARGUMENT, "option %s takes no value", spec->name);
            continue;
        }
        if (!attached && ++i == *n)
            return err_set(e, ERR_INVALID_ARGUMENT, "option %s needs a value", spec->name);
        if (spec->list)
            strv_push(spec->list, attached ? attached : argv[i]);
        else
            *spec->value = attached ? attached : argv[i];
    }
    while (i < *n)
        argv[kept++] = argv[i++];
    *n = kept;
    return 0;
}

int find_dashes(int argc, char **argv)
{
    int i = 0;

    while (i < argc && !str_equal(argv[i], "--"))
        i++;
    return i;
}
