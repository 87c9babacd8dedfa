"""Many clients at once: makers beside listers, a short form of what tests/bench/cri-soak does by hand."""
import os
import subprocess

import pytest

from lib import daemon
from lib.cri import wait_until
from lib.patience import patient

SOAK = daemon.BUILD / "tests/bench/cri-soak"


def held(podd):
    pid = podd.process.pid
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


@pytest.mark.slow
def test_makers_beside_listers_meet_no_error_and_leave_nothing(own_podd):
    """64 of each for a while: whatever fails is printed and fails the program."""
    descriptors, _ = held(own_podd)
    done = subprocess.run([SOAK, "--makers", "64", "--listers", "64", "--seconds", "8", own_podd.socket],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                          timeout=patient(120), check=False)
    assert done.returncode == 0, done.stdout
    wait_until(lambda: held(own_podd)[0] <= descriptors, what=f"{descriptors} descriptors again")
    assert held(own_podd)[1] < 40, "threads do not follow the number of clients"
    assert " error " not in own_podd.log.read_text(errors="replace")
