#!/usr/bin/env python3
"""Fails when a source file includes what its room may not.

A room is a directory of src/. It may include its own headers ("foo.h"), the public header of a
room below it (<podd/...> in include/podd), and the generated header of a protocol listed for it.
Generated CRI types stop at `cri`; YAML stops at `node` and `podd`.
"""
import argparse
import pathlib
import re
import sys

# room: (rooms whose public header it may include, protocols it may see, libraries by header prefix)
ROOMS = {
    "base": (set(), set()),
    "rpc": ({"base"}, {"health"}),
    "http": ({"base"}, set()),
    "runtime": ({"base"}, {"shim"}),
    "shim": ({"base", "runtime"}, {"shim"}),
    "net": ({"base"}, set()),
    "image": ({"base", "http"}, set()),
    "pod": ({"base", "runtime", "shim", "net", "image"}, {"shim", "record"}),
    "health": ({"base", "rpc", "http", "net", "pod"}, {"health"}),
    "node": ({"base", "rpc", "net", "image", "pod", "health"}, {"podd"}),
    "cri": ({"base", "rpc", "net", "image", "pod", "runtime", "health"}, {"cri"}),
    "podd": ({"base", "rpc", "http", "runtime", "shim", "net", "image", "pod", "health", "node", "cri"},
             {"health"}),
    "cli": ({"base", "rpc"}, {"podd", "cri"}),
}

# Headers of a room beside the one of its name.
FURTHER_HEADERS = {"decode": "base"}

# Libraries that belong to one place, so that there is one way to do each thing.
LIBRARIES = {
    "uv.h": {"base"},
    "grpc/": {"rpc"},
    "curl/": {"http", "image", "health"},
    "yaml.h": {"base", "node", "podd", "cli"},
    "archive": {"image", "cli"},
    "netlink/": {"net"},
    "libnftnl/": {"net"},
    "libmnl/": {"net"},
    "seccomp.h": {"runtime", "image"},  # image: podd-unpack confines itself
    "sys/capability.h": {"runtime"},
    "wslay/": {"cri", "cli"},
    "systemd/": {"pod"},
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def problem(room, header, quoted):
    """Why `room` may not include `header`, or None. <net/if.h> is the system's, "net/x.h" a room's."""
    rooms, protocols = ROOMS[room]
    if header.startswith("podd/"):
        other = header[len("podd/"):].removesuffix(".h")
        other = FURTHER_HEADERS.get(other, other)
        if other != room and other not in rooms:
            return f"room {room} may not use room {other}"
    elif header.endswith(".pb-c.h"):
        protocol = header.removesuffix(".pb-c.h")
        if protocol not in protocols:
            return f"room {room} may not see the types of proto/{protocol}.proto"
    elif quoted and "/" in header:
        return "only include/podd/*.h crosses rooms"
    for prefix, owners in LIBRARIES.items():
        if header.startswith(prefix) and room not in owners:
            return f"<{header}> is used only in {', '.join(sorted(owners))}"
    return None


def check(root):
    faults = []
    for path in sorted((root / "src").rglob("*.[ch]")):
        room = path.relative_to(root / "src").parts[0]
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            why = match and problem(room, match.group(2), match.group(1) == '"')
            if why:
                faults.append(f"{path.relative_to(root)}:{number}: {why}")
    for path in sorted((root / "include/podd").glob("*.h")):
        room = FURTHER_HEADERS.get(path.stem, path.stem)
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            why = match and problem(room, match.group(2), match.group(1) == '"')
            if why:
                faults.append(f"{path.relative_to(root)}:{number}: {why}")
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stamp", type=pathlib.Path, help="file to write when all is well")
    parser.add_argument("root", type=pathlib.Path)
    arguments = parser.parse_args()
    faults = check(arguments.root)
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults and arguments.stamp:
        arguments.stamp.write_text("ok\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
