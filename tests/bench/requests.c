/*
 * requests.c - fills the requests of a pod; every pointer leads into the structure itself.
 */
#include "requests.h"

#include <stdio.h>
#include <unistd.h>

static void messages_init(struct pod *p)
{
    *p = (struct pod){
        .metadata = RUNTIME__V1__POD_SANDBOX_METADATA__INIT,
        .namespaces = RUNTIME__V1__NAMESPACE_OPTION__INIT,
        .sandbox_security = RUNTIME__V1__LINUX_SANDBOX_SECURITY_CONTEXT__INIT,
        .sandbox_linux = RUNTIME__V1__LINUX_POD_SANDBOX_CONFIG__INIT,
        .config = RUNTIME__V1__POD_SANDBOX_CONFIG__INIT,
        .run = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT,
        .container_metadata = RUNTIME__V1__CONTAINER_METADATA__INIT,
        .image = RUNTIME__V1__IMAGE_SPEC__INIT,
        .seccomp = RUNTIME__V1__SECURITY_PROFILE__INIT,
        .security = RUNTIME__V1__LINUX_CONTAINER_SECURITY_CONTEXT__INIT,
        .linux = RUNTIME__V1__LINUX_CONTAINER_CONFIG__INIT,
        .container = RUNTIME__V1__CONTAINER_CONFIG__INIT,
        .create = RUNTIME__V1__CREATE_CONTAINER_REQUEST__INIT,
        .command = {"sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait", NULL},
    };
}

void pod_requests(struct pod *p, uint64_t serial, const char *image, const char *handler)
{
    messages_init(p);
    snprintf(p->name, sizeof(p->name), "bench-%d-%llu", (int)getpid(), (unsigned long long)serial);
    snprintf(p->log, sizeof(p->log), "%s.log", p->name);
    p->metadata.name = p->metadata.uid = p->name;
    p->metadata.namespace_ = "bench";
    p->namespaces.pid = RUNTIME__V1__NAMESPACE_MODE__CONTAINER;
    p->sandbox_security.namespace_options = &p->namespaces;
    p->sandbox_linux.security_context = &p->sandbox_security;
    p->config.metadata = &p->metadata;
    p->config.linux = &p->sandbox_linux;
    p->config.log_directory = "/tmp";
    p->run.config = &p->config;
    p->run.runtime_handler = (char *)handler;
    p->container_metadata.name = "c";
    p->image.image = (char *)image;
    p->security.seccomp = &p->seccomp;
    p->security.namespace_options = &p->namespaces;
    p->linux.security_context = &p->security;
    p->container.metadata = &p->container_metadata;
    p->container.image = &p->image;
    p->container.linux = &p->linux;
    p->container.log_path = p->log;
    p->container.command = p->command;
    p->container.n_command = 3;
    p->create.config = &p->container;
    p->create.sandbox_config = &p->config;
    p->create.pod_sandbox_id = p->sandbox_id;
}
