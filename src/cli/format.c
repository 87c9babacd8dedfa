/*
 * format.c - values for people: ages, sizes, clean text; and whole messages as JSON or YAML.
 */
#include "cli.h"

#include <jansson.h>
#include <stdio.h>

const char *format_age(int64_t ns)
{
    static char texts[4][24];
    static unsigned turn;
    char *text = texts[turn++ % ARRAY_SIZE(texts)];
    int64_t s = (time_now_ns() - ns) / NS_PER_SEC;

    if (ns == 0)
        return "-";
    if (s < 0)
        s = 0;
    if (s < 120)
        snprintf(text, sizeof(texts[0]), "%llds", (long long)s);
    else if (s < 600)
        snprintf(text, sizeof(texts[0]), "%lldm%llds", (long long)(s / 60), (long long)(s % 60));
    else if (s < 2 * 3600)
        snprintf(text, sizeof(texts[0]), "%lldm", (long long)(s / 60));
    else if (s < 48 * 3600)
        snprintf(text, sizeof(texts[0]), "%lldh", (long long)(s / 3600));
    else
        snprintf(text, sizeof(texts[0]), "%lldd", (long long)(s / 86400));
    return text;
}

const char *format_bytes(uint64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    static char texts[4][24];
    static unsigned turn;
    char *text = texts[turn++ % ARRAY_SIZE(texts)];
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1000 && unit + 1 < ARRAY_SIZE(units)) {
        value /= 1000;
        unit++;
    }
    snprintf(text, sizeof(texts[0]), unit && value < 100 ? "%.1f%s" : "%.0f%s", value, units[unit]);
    return text;
}

char *format_clean(const char *text)
{
    _cleanup_strbuf_ struct strbuf b = {0};

    for (const char *p = text ? text : ""; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            strbuf_addf(&b, "\\x%02x", (unsigned char)*p);
        else
            strbuf_add(&b, p, 1);
    }
    return strbuf_take(&b);
}

/* ---- YAML: the JSON value in block style; strings stay quoted where YAML could misread them
 * ---------- */

static void yaml_value(const json_t *value, int depth, bool in_list);

static void yaml_indent(int depth)
{
    printf("%*s", depth * 2, "");
}

static void yaml_scalar(const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY);

    puts(text ? text : "null");
    free(text);
}

static void yaml_object(const json_t *object, int depth, bool in_list)
{
    const char *key;
    json_t *value;
    bool first = in_list; /* the first key stands behind the "- " */

    json_object_foreach((json_t *)object, key, value)
    {
        if (!first)
            yaml_indent(depth);
        first = false;
        /* Keys are names of the .proto or labels; a JSON string is valid YAML. */
        if (key[strspn(key, "abcdefghijklmnopqrstuvwxyz_")] == '\0')
            printf("%s:", key);
        else
            printf("\"%s\":", key);
        yaml_value(value, depth + 1, false);
    }
}

static void yaml_value(const json_t *value, int depth, bool in_list)
{
    if (json_is_object(value) && json_object_size(value) > 0) {
        if (!in_list)
            puts("");
        yaml_object(value, depth, in_list);
    } else if (json_is_array(value) && json_array_size(value) > 0) {
        puts("");
        for (size_t i = 0; i < json_array_size(value); i++) {
            yaml_indent(depth);
            fputs("- ", stdout);
            yaml_value(json_array_get(value, i), depth + 1, true);
        }
    } else {
        if (!in_list)
            fputs(" ", stdout);
        yaml_scalar(value);
    }
}

void print_message(const struct cli *cli, const ProtobufCMessage *message)
{
    json_t *object = message_to_json(message);

    if (cli->output == OUTPUT_YAML) {
        yaml_object(object, 0, false);
    } else {
        char *text = json_dumps(object, JSON_INDENT(2));
        puts(text ? text : "{}");
        free(text);
    }
    json_decref(object);
}
