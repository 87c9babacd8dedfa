/*
 * requests.h - the requests of a pod with containers, as kubelet would send them.
 */
#ifndef BENCH_REQUESTS_H
#define BENCH_REQUESTS_H

#include "podd/base.h"

#include "cri.pb-c.h"

/* Messages point into it, so it must not be copied. */
struct pod {
    char name[64], log[96], sandbox_id[96], container_id[96];
    Runtime__V1__PodSandboxMetadata metadata;
    Runtime__V1__NamespaceOption namespaces;
    Runtime__V1__LinuxSandboxSecurityContext sandbox_security;
    Runtime__V1__LinuxPodSandboxConfig sandbox_linux;
    Runtime__V1__PodSandboxConfig config;
    Runtime__V1__RunPodSandboxRequest run;
    Runtime__V1__ContainerMetadata container_metadata;
    Runtime__V1__ImageSpec image;
    Runtime__V1__SecurityProfile seccomp;
    Runtime__V1__LinuxContainerSecurityContext security;
    Runtime__V1__LinuxContainerConfig linux;
    Runtime__V1__ContainerConfig container;
    Runtime__V1__CreateContainerRequest create;
    char *command[4];
};

/* A pod of a name of its own (by `serial` and this process), whose container waits for SIGTERM. */
void pod_requests(struct pod *p, uint64_t serial, const char *image, const char *handler);

#endif
