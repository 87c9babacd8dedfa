/*
 * fingerprint.c - does a request repeat an earlier one of the same name?
 *
 * The bytes of two equal requests differ: clients write maps in any order. So the fields are
 * hashed, and maps by the sum of their entries' hashes. 64 bits tell a retry from a mistake;
 * nothing of worth hangs on a collision, for whoever may ask may also remove the pod.
 */
#include "private.h"

/* FNV-1a. */
static void add(uint64_t *h, const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++)
        *h = (*h ^ p[i]) * 0x100000001b3ULL;
}

static void add_u64(uint64_t *h, uint64_t v)
{
    add(h, &v, sizeof(v));
}

static void add_str(uint64_t *h, const char *s)
{
    size_t len = s ? strlen(s) : 0;

    add_u64(h, len);
    add(h, s, len);
}

static void add_strv(uint64_t *h, char *const *v)
{
    size_t n = strv_len(v);

    add_u64(h, n);
    for (size_t i = 0; i < n; i++)
        add_str(h, v[i]);
}

static const uint64_t SEED = 0xcbf29ce484222325ULL;

static void add_map(uint64_t *h, const struct key_value *kvs, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t one = SEED;
        add_str(&one, kvs[i].key);
        add_str(&one, kvs[i].value);
        sum += one;
    }
    add_u64(h, n);
    add_u64(h, sum);
}

static void add_ranges(uint64_t *h, const struct id_range *ranges, size_t n)
{
    add_u64(h, n);
    for (size_t i = 0; i < n; i++) {
        add_u64(h, ranges[i].container_id);
        add_u64(h, ranges[i].host_id);
        add_u64(h, ranges[i].length);
    }
}

uint64_t fingerprint_sandbox(const struct sandbox_config *config)
{
    uint64_t h = SEED;

    add_str(&h, config->hostname);
    add_str(&h, config->log_directory);
    add_u64(&h, config->dns_given);
    add_strv(&h, config->dns_servers);
    add_strv(&h, config->dns_searches);
    add_strv(&h, config->dns_options);
    for (size_t i = 0; i < config->n_ports; i++) {
        add_u64(&h, (uint64_t)config->ports[i].protocol << 32 |
                        (uint64_t)config->ports[i].container_port << 16 |
                        config->ports[i].host_port);
        add_str(&h, config->ports[i].host_ip);
    }
    add_map(&h, config->labels, config->n_labels);
    add_map(&h, config->annotations, config->n_annotations);
    add_map(&h, config->sysctls, config->n_sysctls);
    add_str(&h, config->cgroup_parent);
    add_u64(&h,
            (uint64_t)config->network << 16 | (uint64_t)config->pid << 8 | (uint64_t)config->ipc);
    add_ranges(&h, config->uid_maps, config->n_uid_maps);
    add_ranges(&h, config->gid_maps, config->n_gid_maps);
    add_u64(&h, config->privileged);
    add_u64(&h, config->shm_size);
    add_str(&h, config->runtime_handler);
    add_str(&h, config->origin);
    return h;
}

static void add_mounts(uint64_t *h, const struct container_config *config)
{
    add_u64(h, config->n_mounts);
    for (size_t i = 0; i < config->n_mounts; i++) {
        const struct mount_config *m = &config->mounts[i];
        add_str(h, m->container_path);
        add_str(h, m->host_path);
        add_str(h, m->sub_path);
        add_u64(h, m->file_type);
        add_u64(h, (uint64_t)m->readonly | (uint64_t)m->recursive_readonly << 1 |
                       (uint64_t)m->selinux_relabel << 2 | (uint64_t)m->noexec << 3 |
                       (uint64_t)m->nosuid << 4 | (uint64_t)m->nodev << 5 |
                       (uint64_t)m->propagation << 8);
        add_ranges(h, m->uid_maps, m->n_uid_maps);
        add_ranges(h, m->gid_maps, m->n_gid_maps);
        add_str(h, m->image);
        add_str(h, m->image_sub_path);
    }
    add_u64(h, config->n_devices);
    for (size_t i = 0; i < config->n_devices; i++) {
        add_str(h, config->devices[i].container_path);
        add_str(h, config->devices[i].host_path);
        add_str(h, config->devices[i].permissions);
    }
    add_strv(h, config->cdi_devices);
}

static void add_limits(uint64_t *h, const struct cgroup_limits *l)
{
    const int64_t numbers[] = {l->cpu_period,   l->cpu_quota,         l->cpu_shares,
                               l->memory_bytes, l->memory_swap_bytes, l->pids};

    add(h, numbers, sizeof(numbers));
    add_str(h, l->cpuset_cpus);
    add_str(h, l->cpuset_mems);
    add_u64(h, l->n_hugepages);
    for (size_t i = 0; i < l->n_hugepages; i++) {
        add_str(h, l->hugepages[i].page_size);
        add_u64(h, l->hugepages[i].bytes);
    }
    add_map(h, l->unified, l->n_unified);
}

static void add_security(uint64_t *h, const struct security_config *s)
{
    add_strv(h, s->add_capabilities);
    add_strv(h, s->drop_capabilities);
    add_strv(h, s->ambient_capabilities);
    add_u64(h, (uint64_t)s->privileged | (uint64_t)s->no_new_privs << 1 |
                   (uint64_t)s->readonly_rootfs << 2 | (uint64_t)s->has_run_as_user << 3 |
                   (uint64_t)s->has_run_as_group << 4 | (uint64_t)s->groups_strict << 5 |
                   (uint64_t)s->pid << 8 | (uint64_t)s->network << 16 | (uint64_t)s->ipc << 24);
    add_str(h, s->pid_target);
    add_u64(h, (uint64_t)s->run_as_user << 32 | s->run_as_group);
    add_str(h, s->run_as_username);
    add_u64(h, s->n_supplemental_groups);
    add(h, s->supplemental_groups, s->n_supplemental_groups * sizeof(*s->supplemental_groups));
    add_strv(h, s->masked_paths);
    add_strv(h, s->readonly_paths);
    add_u64(h, (uint64_t)s->seccomp.type << 8 | (uint64_t)s->apparmor.type);
    add_u64(h, s->apparmor.asked);
    add_str(h, s->seccomp.localhost_ref);
    add_str(h, s->apparmor.localhost_ref);
    add_str(h, s->selinux_user);
    add_str(h, s->selinux_role);
    add_str(h, s->selinux_type);
    add_str(h, s->selinux_level);
}

uint64_t fingerprint_container(const struct container_config *config)
{
    uint64_t h = SEED;

    add_str(&h, config->image);
    add_strv(&h, config->command);
    add_strv(&h, config->args);
    add_str(&h, config->working_dir);
    add_u64(&h, config->n_envs);
    for (size_t i = 0; i < config->n_envs; i++) {
        add_str(&h, config->envs[i].key);
        add_str(&h, config->envs[i].value);
    }
    add_mounts(&h, config);
    add_map(&h, config->labels, config->n_labels);
    add_map(&h, config->annotations, config->n_annotations);
    add_str(&h, config->log_path);
    add_u64(&h, (uint64_t)config->stdin_open | (uint64_t)config->stdin_once << 1 |
                    (uint64_t)config->tty << 2 | (uint64_t)config->has_oom_score_adj << 3 |
                    (uint64_t)(uint32_t)config->stop_signal << 8);
    add_u64(&h, (uint64_t)config->oom_score_adj);
    add_limits(&h, &config->limits);
    add_security(&h, &config->security);
    return h;
}
