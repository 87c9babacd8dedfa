"""A test that should run here and does not is a failure: the rules by which CI sees that."""
import os
import subprocess
import sys
import types

import pytest

from lib import kernel
from lib.daemon import SOURCE

sys.path.insert(0, str(SOURCE / "tests"))

import stages  # noqa: E402

LACKING, PRESENT = ("cgroup_v1", "cgroup_v2") if kernel.is_cgroup_v2() else ("cgroup_v2", "cgroup_v1")
CASES = "import pytest\n" + "".join(
    f"@pytest.mark.{marker}\ndef test_{marker}():\n    pass\n" for marker in (LACKING, PRESENT, "systemd"))


def outcome_of(directory, required):
    """What pytest says of tests with those markers under this suite's rules, on a machine that must
    satisfy `required`."""
    (directory / "test_cases.py").write_text(CASES)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "conftest", "."],
        env={**os.environ, "PYTHONPATH": str(SOURCE / "tests/integration"), "PYTEST_ADDOPTS": "",
             "PODD_REQUIRE": required, "PODD_VM": "plain"},
        check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", cwd=directory)
    return done.returncode, done.stdout


def test_what_a_machine_must_have_is_not_skipped(tmp_path):
    status, said = outcome_of(tmp_path, "")
    assert status == 0 and "1 passed, 2 skipped" in said, said
    status, said = outcome_of(tmp_path, f"sys_resource,systemd,{LACKING}")
    assert status == 1 and "1 passed, 2 errors" in said, said
    assert "needs a VM that systemd has booted, and PODD_REQUIRE says that it is here" in said
    assert f"needs {LACKING.replace('_', ' ')}, and PODD_REQUIRE says that it is here" in said
    status, said = outcome_of(tmp_path, "no_such")
    assert status == 2 and "no such marker: no_such" in said, said


@pytest.mark.parametrize("may_skip, passed, skipped, failed", [(True, 1, 1, 1), (False, 1, 0, 2)])
def test_a_skip_counts_as_a_failure_in_a_vm(tmp_path, may_skip, passed, skipped, failed):
    report = tmp_path / "junit.xml"
    report.write_text("""<testsuites><testsuite>
        <testcase classname="a" name="good"/>
        <testcase classname="a" name="bad"><failure message="wrong"/></testcase>
        <testcase classname="a" name="left"><skipped message="needs cgroup v2"/></testcase>
        </testsuite></testsuites>""")
    tally = stages.Tally()
    stages.junit(report, "vm", tally, may_skip=may_skip)
    assert (tally.passed, tally.skipped, tally.failed) == (passed, skipped, failed)
    assert ("vm: a.left" in tally.failures) == (not may_skip)


def test_the_vm_stage_lets_nothing_skip(monkeypatch):
    """Each machine says what it must have, and its results are read by the strict rule."""
    machines, rules = [], []

    def run(command, **options):
        if "--export" in command:
            machines.append((command, options["env"]["PODD_REQUIRE"].split(",")))
            report = next(a for a in command if a.startswith("--junitxml=")).split("=")[1]
            with open(report, "w", encoding="utf-8") as f:
                f.write("<testsuites/>")
        return 0
    monkeypatch.setattr(stages, "run", run)
    monkeypatch.setattr(stages, "build", lambda directory: True)
    monkeypatch.setattr(stages, "junit", lambda *a, may_skip=True: rules.append(may_skip))
    stages.stage_vm(types.SimpleNamespace(pytest=[]), stages.Tally())
    assert rules == [False] * len(machines) and len(machines) == 4
    booted = [(command[command.index("--kernel") + 1], required)
              for command, required in machines if "--systemd" in command]
    assert {kernel for kernel, _ in booted} == {"cloud", "backports"}
    assert all("systemd" in required for _, required in booted)
    assert all({"cgroup_v2", "sys_resource", "apparmor"} <= set(r) for _, r in machines)
