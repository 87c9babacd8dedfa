#!/usr/bin/python3
"""The stages of podd's tests, in a row. `tests/run` installs the packages and starts this.

Builds, and runs the stages named (all of them by default):

  unit         unit tests and fuzz corpora
  sanitize     the same under AddressSanitizer and UndefinedBehaviorSanitizer
  format       the sources are as clang-format leaves them
  integration  the real daemon, driven through CRI, podd.v1 and podctl
  quickstart   README's first command
  vm           what needs cgroup v2 or full capabilities, in a virtual machine

Ends with a line `N passed, N failed`; the exit status is 0 when nothing failed. What a stage skips is
listed with its reason.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

SOURCE = pathlib.Path(__file__).resolve().parent.parent
STAGES = ("unit", "sanitize", "format", "integration", "quickstart", "vm")
PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's grpcio


class Tally:
    def __init__(self):
        self.passed, self.failed, self.skipped, self.failures = 0, 0, 0, []

    def add(self, name, outcome):
        if outcome == "pass":
            self.passed += 1
        elif outcome == "skip":
            self.skipped += 1
        else:
            self.failed += 1
            self.failures.append(name)


def run(command, **options):
    print("+", " ".join(map(str, command)), flush=True)
    return subprocess.run(list(map(str, command)), cwd=SOURCE, check=False, **options).returncode


def build(directory, *options):
    """Configures when needed and builds; True when it worked."""
    if not (directory / "build.ninja").exists():
        configured = run(["meson", "setup", directory, *options], stdout=subprocess.DEVNULL)
    else:  # the quick start makes one without tests
        configured = run(["meson", "configure", directory, "-Dtests=true"])
    if configured != 0:
        return False
    return run(["ninja", "-C", directory, "--quiet"]) == 0


def meson_tests(directory, stage, tally, environment=None):
    run(["meson", "test", "-C", directory, "--no-rebuild", "--print-errorlogs", "--quiet"],
        env={**os.environ, **(environment or {})})
    log = directory / "meson-logs/testlog.json"
    for line in log.read_text().splitlines():
        test = json.loads(line)
        outcome = {"OK": "pass", "SKIP": "skip"}.get(test["result"], "fail")
        tally.add(f"{stage}: {test['name']}", outcome)


def junit(path, stage, tally, may_skip=True):
    for case in ElementTree.parse(path).iter("testcase"):
        name = f"{stage}: {case.get('classname')}.{case.get('name')}"
        kinds = {child.tag: child for child in case}
        if "failure" in kinds or "error" in kinds:
            tally.add(name, "fail")
        elif "skipped" in kinds:
            print(f"skipped {name}: {kinds['skipped'].get('message')}")
            tally.add(name, "skip" if may_skip else "fail")
        else:
            tally.add(name, "pass")


def stage_unit(arguments, tally):
    if not build(SOURCE / "build"):
        tally.add("unit: build", "fail")
        return
    meson_tests(SOURCE / "build", "unit", tally)


def stage_sanitize(arguments, tally):
    directory = SOURCE / "build-sanitize"
    if not build(directory, "-Db_sanitize=address,undefined", "-Db_lundef=false"):
        tally.add("sanitize: build", "fail")
        return
    options = {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "halt_on_error=1"}
    meson_tests(directory, "sanitize", tally, options)


def stage_format(arguments, tally):
    files = subprocess.run(["git", "ls-files", "*.c", "*.h"], cwd=SOURCE, check=True,
                           stdout=subprocess.PIPE, encoding="utf-8").stdout.split()
    ok = run(["clang-format", "--dry-run", "--Werror", *files], stderr=subprocess.STDOUT) == 0
    tally.add("format: sources", "pass" if ok else "fail")


def pytest(stage, tally, selection, environment=None, wrapper=()):
    with tempfile.TemporaryDirectory() as scratch:
        report = pathlib.Path(scratch) / "junit.xml"
        run([*wrapper, PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short",
             "--durations=10", f"--junitxml={report}", *selection],
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})})
        if report.exists():
            junit(report, stage, tally)
        else:
            tally.add(f"{stage}: pytest did not finish", "fail")


def stage_integration(arguments, tally):
    if not build(SOURCE / "build"):
        tally.add("integration: build", "fail")
        return
    pytest("integration", tally, ["tests/integration", *arguments.pytest])


def stage_quickstart(arguments, tally):
    """Twice, as README promises; in a network namespace of its own, so that CI's is not touched."""
    for attempt in (1, 2):
        command = ["unshare", "--net", "sh", "-c", "ip link set lo up && exec contrib/quickstart"]
        tally.add(f"quickstart: run {attempt}", "pass" if run(command) == 0 else "fail")


def vm(name, tally, options, selection):
    """One virtual machine and what pytest selects in it. The machine is there for these tests, so that
    none may be skipped, whatever for; and emulation is slow, so that time limits are stretched."""
    required = ["cgroup_v2", "sys_resource", "apparmor"] + ["systemd"] * ("--systemd" in options)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PODD_TEST_PATIENCE": "8",
                   "PODD_REQUIRE": ",".join(required)}
    with tempfile.TemporaryDirectory() as scratch:
        report = pathlib.Path(scratch) / "junit.xml"
        run(["tests/vm/run", *options, "--timeout", "1200", "--export", scratch, "--", PYTHON, "-m",
             "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "--durations=10",
             f"--junitxml={report}", *selection], env=environment)
        if report.exists():
            junit(report, name, tally, may_skip=False)
        else:
            tally.add(f"{name}: pytest did not finish", "fail")


def stage_vm(arguments, tally):
    if run(["tests/vm/install.sh"]) != 0 or not build(SOURCE / "build"):
        tally.add("vm: preparation", "fail")
        return
    marked = ["-m", "vm and not slow and not cgroup_v1", *arguments.pytest]
    vm("vm, Debian's kernel", tally, [], [*marked, "tests/integration"])
    vm("vm, newest kernel", tally, ["--kernel", "backports"],
       [*marked, "tests/integration/test_vm.py"])
    for name, kernel in (("systemd", "cloud"), ("newest kernel, systemd", "backports")):
        vm(f"vm, {name}", tally, ["--kernel", kernel, "--systemd"],
           ["tests/integration/test_systemd.py", *arguments.pytest])


def main():
    parser = argparse.ArgumentParser(prog="tests/run", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", dest="pytest", action="append", default=[], metavar="EXPRESSION",
                        type=lambda e: f"-k {e}", help="only these integration tests")
    parser.add_argument("stages", nargs="*", metavar="stage", help=", ".join(STAGES))
    arguments = parser.parse_args()
    unknown = set(arguments.stages) - set(STAGES)
    if unknown:
        parser.error(f"unknown stage {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        parser.error("please run as root: the tests make namespaces, mounts and cgroups")

    tally = Tally()
    for stage in arguments.stages or STAGES:
        started = time.monotonic()
        print(f"== {stage}", flush=True)
        globals()[f"stage_{stage}"](arguments, tally)
        print(f"== {stage}: {time.monotonic() - started:.0f} s", flush=True)
    for name in tally.failures:
        print(f"FAILED {name}")
    if tally.skipped:
        print(f"{tally.skipped} skipped")
    print(f"{tally.passed} passed, {tally.failed} failed")
    sys.exit(1 if tally.failed or not tally.passed else 0)


if __name__ == "__main__":
    main()
