#!/bin/bash
# Installs what the VM harness (tests/vm/run) needs from Debian, on the host.
#
# Only tools: no kernel package is ever installed, since the harness downloads and
# unpacks kernels by itself. systemd and dbus are there for `run --systemd`, which boots
# the host's own systemd inside the VM; installing them does not change the host's init.

set -euo pipefail

packages=(
        qemu-system-x86         # the emulator
        qemu-system-common      # virtiofsd, which shares the host's root with the VM
        busybox-static          # userland of the initrd
        kmod                    # depmod on the host, modprobe in the VM
        xz-utils                # kernel modules of backports come compressed
        e2fsprogs               # mkfs.ext4 for the scratch disk
        util-linux              # setpriv, which ties the emulator's life to the harness
        apparmor                # apparmor_parser, for tests in the VM
        iproute2                # network set-up in the VM
        nftables                # for tests in the VM
        systemd                 # run --systemd
        dbus                    # run --systemd
        python3
        python3-pytest
)

export DEBIAN_FRONTEND=noninteractive
apt_get=(apt-get -o DPkg::Lock::Timeout=600 -q)

# The mirror is asked only when something is missing.
missing=()
for package in "${packages[@]}"; do
        state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [[ $state == installed ]] || missing+=("$package")
done

if ((${#missing[@]})); then
        "${apt_get[@]}" update
        "${apt_get[@]}" install -y --no-install-recommends "${missing[@]}"
fi
