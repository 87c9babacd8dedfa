/*
 * to_sandbox.c - sandboxes as CRI shows them. What was asked comes back from the stored request.
 */
#include "private.h"

static Runtime__V1__PodSandboxMetadata *metadata_of(const struct sandbox *s, struct arena *a)
{
    Runtime__V1__PodSandboxMetadata *m = ARENA_MESSAGE(a, runtime__v1__pod_sandbox_metadata);

    m->name = s->name;
    m->uid = s->uid;
    m->namespace_ = s->namespace_;
    m->attempt = s->attempt;
    return m;
}

static Runtime__V1__PodSandboxState state_of(const struct sandbox *s)
{
    return s->state == SANDBOX_READY ? RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY
                                     : RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_NOTREADY;
}

Runtime__V1__PodSandbox *sandbox_to_item(const struct sandbox *s, struct arena *a)
{
    Runtime__V1__PodSandbox *item = ARENA_MESSAGE(a, runtime__v1__pod_sandbox);

    item->id = s->id;
    item->metadata = metadata_of(s, a);
    item->state = state_of(s);
    item->created_at = s->created_at;
    item->labels = arena_to_map(a, &runtime__v1__pod_sandbox__labels_entry__descriptor, s->labels,
                                s->n_labels);
    item->n_labels = s->n_labels;
    item->annotations = arena_to_map(a, &runtime__v1__pod_sandbox__annotations_entry__descriptor,
                                     s->annotations, s->n_annotations);
    item->n_annotations = s->n_annotations;
    item->runtime_handler = s->runtime_handler;
    return item;
}

/* The namespaces as they were asked for, to the letter: kubelet compares them on every sync. */
static Runtime__V1__LinuxPodSandboxStatus *linux_status_of(const struct sandbox *s, struct arena *a)
{
    Runtime__V1__LinuxPodSandboxStatus *status =
        ARENA_MESSAGE(a, runtime__v1__linux_pod_sandbox_status);
    const struct bytes *asked = &s->asked;

    status->namespaces = ARENA_MESSAGE(a, runtime__v1__namespace);
    if (str_equal(s->origin, "cri")) {
        const Runtime__V1__PodSandboxConfig *config =
            arena_unpack(a, &runtime__v1__pod_sandbox_config__descriptor, asked->data, asked->len);
        if (config && config->linux && config->linux->security_context)
            status->namespaces->options = config->linux->security_context->namespace_options;
    }
    if (!status->namespaces->options) {
        Runtime__V1__NamespaceOption *options = ARENA_MESSAGE(a, runtime__v1__namespace_option);
        if (s->host_network)
            options->network = RUNTIME__V1__NAMESPACE_MODE__NODE;
        status->namespaces->options = options;
    }
    return status;
}

static Runtime__V1__PodSandboxNetworkStatus *network_of(const struct sandbox *s, struct arena *a)
{
    Runtime__V1__PodSandboxNetworkStatus *network =
        ARENA_MESSAGE(a, runtime__v1__pod_sandbox_network_status);
    size_t count = s->addresses.count;

    if (count == 0)
        return network;
    network->ip = (char *)s->addresses.text[0];
    network->additional_ips = arena_alloc(a, count * sizeof(*network->additional_ips));
    for (size_t i = 1; i < count; i++) {
        Runtime__V1__PodIP *ip = ARENA_MESSAGE(a, runtime__v1__pod_ip);
        ip->ip = (char *)s->addresses.text[i];
        network->additional_ips[network->n_additional_ips++] = ip;
    }
    return network;
}

Runtime__V1__PodSandboxStatus *sandbox_to_status(const struct sandbox *s, struct arena *a)
{
    Runtime__V1__PodSandboxStatus *status = ARENA_MESSAGE(a, runtime__v1__pod_sandbox_status);

    status->id = s->id;
    status->metadata = metadata_of(s, a);
    status->state = state_of(s);
    status->created_at = s->created_at;
    status->network = network_of(s, a);
    status->linux = linux_status_of(s, a);
    status->labels = arena_to_map(a, &runtime__v1__pod_sandbox_status__labels_entry__descriptor,
                                  s->labels, s->n_labels);
    status->n_labels = s->n_labels;
    status->annotations =
        arena_to_map(a, &runtime__v1__pod_sandbox_status__annotations_entry__descriptor,
                     s->annotations, s->n_annotations);
    status->n_annotations = s->n_annotations;
    status->runtime_handler = s->runtime_handler;
    return status;
}
