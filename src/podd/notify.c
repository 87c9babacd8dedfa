/*
 * notify.c - the readiness protocol of sd_notify(3): one datagram to the socket that the
 * environment names. Small enough that libsystemd would cost more than it saves.
 */
#include "notify.h"

#include "podd/base.h"

#include <sys/socket.h>
#include <sys/un.h>

void notify_send(const char *assignment)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (str_empty(path) || strlen(path) >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@') /* an abstract name */
        address.sun_path[0] = '\0';

    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (fd < 0 || sendto(fd, assignment, strlen(assignment), MSG_NOSIGNAL,
                         (struct sockaddr *)&address, len) < 0)
        log_warn("podd", NULL, "cannot tell the service manager %s: %m", assignment);
}
