"""The images that critest pulls, made of Debian's busybox: their names and contents in one registry,
which podd takes for a mirror of the registries that they really come from.

critest's one image by digest (test-image-digest) cannot be made anew: its digest is a constant in
critest. prepare() says which digest ours has; the caller puts it into its copy of the program.
"""
import subprocess
import tarfile

from lib import images

E2E = "e2e-test-images"
CRI_TOOLS = "k8s-staging-cri-tools"
MIRRORED = ("registry.k8s.io", "k8s.gcr.io", "gcr.io")

# Applets that Debian's busybox lacks, as far as critest asks for them.
PGREP = b'#!/bin/sh\nexec pidof "$1"\n'
IPCS = b"#!/bin/sh\ncat /proc/sysvipc/shm\n"
# The kernel names a script's process after the script, so this is `nginx` to pidof.
SERVER = b"""#!/bin/sh
mkdir -p /var/run
echo $$ > /var/run/nginx.pid
trap 'exit 0' TERM INT QUIT
echo httpd is up
httpd -f -p %d -h /www &
wait
"""
SETUID = """#include <stdio.h>
#include <unistd.h>
int main(void) { printf("Effective uid: %d\\n", (int)geteuid()); return 0; }
"""


def _layer(directory, *files):
    """A layer of files (name, content, mode), uncompressed."""
    path = directory / "layer.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, mode in files:
            source = directory / "content"
            source.write_bytes(content)
            info = tarfile.TarInfo(name)
            info.mode, info.size = mode, len(content)
            with open(source, "rb") as data:
                tar.addfile(info, data)
    return path.read_bytes()


def _without_ls(busybox):
    """A busybox whose shell has no `ls` of its own. critest masks the file /bin/ls and expects that
    the shell cannot run it: so it must not be a link to busybox, nor the shell be content with itself."""
    table = b"\0ls\0lsmod\0"
    assert busybox.count(table) == 1, "the names of busybox's applets are elsewhere now"
    return busybox.replace(table, b"\0lq\0lsmod\0")


def _setuid_program(directory):
    source, program = directory / "setuid.c", directory / "setuid"
    source.write_text(SETUID)
    subprocess.run(["cc", "-static", "-O", "-o", program, source], check=True)
    return program.read_bytes()


def prepare(directory, registry):
    """Pushes everything; the manifest digest of test-image-digest."""
    layout = images.Layout(directory / "layout")
    shell = images.busybox_layer()
    busybox = images.BUSYBOX.read_bytes()
    more = _layer(directory, ("bin/pgrep", PGREP, 0o755), ("bin/ipcs", IPCS, 0o755),
                  ("bin/ls", busybox, 0o755), ("bin/busybox", _without_ls(busybox), 0o755))
    config = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]}

    def push(target, *files, **overrides):
        layers = [shell, more] + ([_layer(directory, *files)] if files else [])
        name = target.replace("/", "-").replace(":", "-")
        descriptor = layout.image(layers, {**config, **overrides})
        layout.tag(descriptor, name)
        registry.push(layout, name, target, "--preserve-digests")
        return descriptor["digest"]

    def server(target, port):
        push(target, ("bin/nginx", SERVER % port, 0o755), ("www/index.html", b"nginx\n", 0o644),
             Entrypoint=["/bin/nginx", "master process"], Cmd=[])

    push(f"{E2E}/busybox:1.29-2")
    server(f"{E2E}/nginx:1.14-2", 80)
    server(f"{E2E}/httpd:2.4.39-4", 80)
    server(f"{CRI_TOOLS}/hostnet-nginx-amd64:latest", 12003)
    push(f"{E2E}/nonewprivs:1.3", ("nnp", _setuid_program(directory), 0o4755), Entrypoint=["/nnp"], Cmd=[])
    push("pause:3.9", ("pause", b"#!/bin/sh\nexec sleep 1000000\n", 0o755), Entrypoint=["/pause"], Cmd=[])
    for name, user in (("uid", "1002"), ("username", "www-data"), ("uid-group", "1003:users"),
                       ("username-group", "www-data:100")):
        push(f"{CRI_TOOLS}/test-image-user-{name}:latest", User=user)
    users = (("etc/passwd", images.PASSWD.replace("alice", "default-user").encode(), 0o644),
             ("etc/group", b"root:x:0:\ndefault-user:x:1000:\n"
              b"group-defined-in-image:x:50000:default-user\n", 0o644))
    push(f"{CRI_TOOLS}/test-image-predefined-group:latest", *users, User="1000")
    for name in ("latest:latest", "tag:test", "tag:all", "1:latest", "2:latest", "3:latest"):
        push(f"{CRI_TOOLS}/test-image-{name}", ("name", name.encode(), 0o644))
    for tag in "123":
        push(f"{CRI_TOOLS}/test-image-tags:{tag}", ("name", b"tags", 0o644))
    return push(f"{CRI_TOOLS}/test-image-digest:latest", ("name", b"digest", 0o644))
