/*
 * objects.c - the kinds of declared objects other than pods: lists and descriptions of Namespaces,
 * ConfigMaps and Secrets. The values of a Secret are never shown.
 */
#include "cli.h"

#include <jansson.h>
#include <stdio.h>

const char *kind_named(const char *word)
{
    static const struct {
        const char *kind, *names[4];
    } kinds[] = {
        {"Pod", {"pod", "pods", "po"}},
        {"ConfigMap", {"configmap", "configmaps", "cm"}},
        {"Secret", {"secret", "secrets"}},
        {"Namespace", {"namespace", "namespaces", "ns"}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        for (size_t k = 0; k < ARRAY_SIZE(kinds[i].names) && kinds[i].names[k]; k++)
            if (strcasecmp(word, kinds[i].names[k]) == 0)
                return kinds[i].kind;
    return NULL;
}

static void *get_object(struct cli *cli, const char *kind, const char *name, int *status)
{
    Podd__V1__GetObjectRequest request = PODD__V1__GET_OBJECT_REQUEST__INIT;

    request.kind = (char *)kind;
    request.namespace_ = (char *)cli->namespace_;
    request.name = (char *)name;
    return cli_call(cli, "GetObject", &request.base, status);
}

/* ---- get
 * ------------------------------------------------------------------------------------------ */

static void print_objects(const struct cli *cli, Podd__V1__Object *const *objects, size_t n)
{
    struct table *t = table_new();
    char keys[24];

    for (size_t i = 0; cli->output == OUTPUT_NAME && i < n; i++)
        printf("%s/%s\n", objects[i]->kind, objects[i]->name);
    if (cli->output != OUTPUT_NAME)
        table_row(t, "NAME", "NAMESPACE", "KEYS", "AGE", NULL);
    for (size_t i = 0; cli->output != OUTPUT_NAME && i < n; i++) {
        snprintf(keys, sizeof(keys), "%zu", objects[i]->n_keys);
        table_row(t, objects[i]->name,
                  str_empty(objects[i]->namespace_) ? "-" : objects[i]->namespace_, keys,
                  format_age(objects[i]->created_at), NULL);
    }
    table_print(t);
    table_free(t);
}

int get_objects(struct cli *cli, const char *kind, const char *name)
{
    Podd__V1__ListObjectsRequest request = PODD__V1__LIST_OBJECTS_REQUEST__INIT;
    int status = EXIT_OK;

    if (name) {
        _cleanup_message_ Podd__V1__GetObjectResponse *one = get_object(cli, kind, name, &status);
        if (one && cli->output >= OUTPUT_JSON)
            print_message(cli, &one->object->base);
        else if (one)
            print_objects(cli, &one->object, 1);
        return status;
    }
    request.kind = (char *)kind;
    request.namespace_ = (char *)cli->namespace_;
    _cleanup_message_ Podd__V1__ListObjectsResponse *all =
        cli_call(cli, "ListObjects", &request.base, &status);
    if (all && cli->output >= OUTPUT_JSON)
        print_message(cli, &all->base);
    else if (all && all->n_objects == 0)
        fprintf(stderr, "No %ss are declared.\n", kind);
    else if (all)
        print_objects(cli, all->objects, all->n_objects);
    return status;
}

/* ---- describe
 * ------------------------------------------------------------------------------------- */

/* What a ConfigMap holds, from its manifest; a Secret's comes without its values. */
static void describe_data(const Podd__V1__Object *o)
{
    json_t *manifest = json_loads(o->manifest, 0, NULL);
    json_t *data = json_object_get(manifest, "data");

    for (size_t i = 0; i < o->n_keys; i++) {
        json_t *value = json_object_get(data, o->keys[i]->name);
        _cleanup_free_ char *clean = format_clean(json_string_value(value));
        bool shown = json_is_string(value) && str_equal(o->kind, "ConfigMap");
        printf("  %s: %s%s%s\n", o->keys[i]->name, format_bytes(o->keys[i]->size),
               shown ? "  " : "", shown ? clean : "");
    }
    json_decref(manifest);
}

int describe_object(struct cli *cli, const char *kind, const char *name)
{
    int status = EXIT_OK;
    _cleanup_message_ Podd__V1__GetObjectResponse *answer = get_object(cli, kind, name, &status);

    if (!answer)
        return status;
    const Podd__V1__Object *o = answer->object;
    if (cli->output >= OUTPUT_JSON) {
        print_message(cli, &o->base);
        return EXIT_OK;
    }
    printf("Kind:            %s\nName:            %s\n", o->kind, o->name);
    if (!str_empty(o->namespace_))
        printf("Namespace:       %s\n", o->namespace_);
    if (!str_empty(o->type))
        printf("Type:            %s\n", o->type);
    printf("UID:             %s\nAge:             %s\n", o->uid, format_age(o->created_at));
    if (o->terminating)
        puts("Being deleted, with all that is in it.");
    if (o->n_keys)
        puts("Data:");
    describe_data(o);
    return EXIT_OK;
}
