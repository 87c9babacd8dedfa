#!/usr/bin/python3 -IS
"""A CNI plugin that writes down how it was called and behaves as a file tells it to.

Its configuration names a directory: `calls` gets a line of JSON for each call, `behaviour` maps
"type.COMMAND" or "COMMAND" to what to do instead of the right thing.
"""
import json
import os
import sys
import time


def failure(code, msg, details=""):
    print(json.dumps({"cniVersion": "1.0.0", "code": code, "msg": msg, "details": details}))
    sys.exit(1)


def misbehave(how, here):
    kind, _, text = how.partition(":")
    if kind == "error":
        failure(101, text, "ask the fake")
    elif kind == "later":
        failure(11, text)
    elif kind == "garbage":
        print(text)
        sys.exit(0)
    elif kind == "crash":
        print(text, file=sys.stderr)
        sys.exit(3)
    elif kind == "flood":
        while True:
            os.write(1, b"x" * 65536)
    elif kind == "hang":  # one child in the group, and one that left it
        children = [os.posix_spawnp("sleep", ["sleep", "300"], os.environ, setsid=new)
                    for new in (False, True)]
        with open(f"{here}/hanging.new", "w", encoding="utf-8") as pids:
            pids.write(" ".join(map(str, [os.getpid(), *children])))
        os.rename(f"{here}/hanging.new", f"{here}/hanging")
        time.sleep(300)
    elif kind == "wait":  # until the test says go on
        with open(f"{here}/waiting.new", "w", encoding="utf-8") as pid:
            pid.write(str(os.getpid()))
        os.rename(f"{here}/waiting.new", f"{here}/waiting")
        while os.path.exists(f"{here}/waiting"):
            time.sleep(0.01)
    elif kind == "result":
        print(text)
        sys.exit(0)


def main():
    conf = json.load(sys.stdin)
    here = conf["dir"]
    env = {k: v for k, v in os.environ.items() if k.startswith("CNI_")}
    command = env["CNI_COMMAND"]
    netns = env.get("CNI_NETNS")
    call = {"type": conf["type"], "command": command, "env": env, "conf": conf,
            "netns": os.stat(netns).st_ino if netns else None}
    with open(f"{here}/calls", "a", encoding="utf-8") as calls:
        calls.write(json.dumps(call) + "\n")
    with open(f"{here}/behaviour", encoding="utf-8") as f:
        behaviour = json.load(f)
    how = behaviour.get(f"{conf['type']}.{command}") or behaviour.get(command)
    if how:
        misbehave(how, here)
    if command == "ADD":
        result = conf.get("prevResult") or {
            "cniVersion": conf["cniVersion"],
            "interfaces": [{"name": "veth1"}, {"name": "eth0", "sandbox": netns}],
            "ips": [{"address": "10.99.0.7/24", "interface": 1}, {"address": "fd00:99::7/64"},
                    {"address": "192.0.2.99/24", "interface": 0}]}
        result["seen"] = result.get("seen", []) + [conf["type"]]
        print(json.dumps(result))


main()
