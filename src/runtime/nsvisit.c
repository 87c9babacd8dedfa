/*
 * Visits to other mount namespaces.
 *
 * The shim's own mount namespace holds nothing but the pod's little tree (sandbox.c), while its
 * root directory is the node's. Cloning a mount of the node works only from within the node's
 * namespace, so the shim goes there for a moment. setns(2) sets root and working directory, which
 * the visit puts back.
 */
#include "child.h"

#include <fcntl.h>

#include "sys.h"

static int root_set(int root)
{
    return fchdir(root) < 0 || chroot(".") < 0 || chdir("/") < 0 ? -errno : 0;
}

int ns_visit_begin(int mntns, struct ns_visit *ret, struct err *e)
{
    _cleanup_close_ int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int root = own < 0 ? -1 : open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return err_errno(e, errno, "open the own mount namespace");
    if (setns(mntns, CLONE_NEWNS) < 0)
        return err_errno(e, errno, "enter the node's mount namespace");
    struct ns_visit visit = {.own_mntns = take_fd(&own), .own_root = take_fd(&root)};
    int r = root_set(visit.own_root);
    if (r < 0) {
        ns_visit_end(&visit);
        return err_errno(e, r, "take the node's root directory");
    }
    *ret = visit;
    return 0;
}

void ns_visit_end(struct ns_visit *v)
{
    if (setns(v->own_mntns, CLONE_NEWNS) < 0 || root_set(v->own_root) < 0)
        abort();
    fd_close(v->own_mntns);
    fd_close(v->own_root);
}
