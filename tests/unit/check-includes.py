#!/usr/bin/env python3
"""contrib/check-includes.py lets pass what a room may include and names what it may not."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(sys.argv.pop(1)).resolve()


class Includes(unittest.TestCase):
    def faults(self, path, *headers):
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            (root / "include/podd").mkdir(parents=True)
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text("".join(f"#include {header}\n" for header in headers))
            done = subprocess.run([SCRIPT, root], stderr=subprocess.PIPE, encoding="utf-8",
                                  check=False)
            self.assertEqual(done.returncode, 1 if done.stderr else 0)
            return done.stderr.splitlines()

    def test_a_room_uses_rooms_below_it_and_its_own_files(self):
        self.assertEqual(self.faults("src/pod/x.c", '"podd/base.h"', '"podd/shim.h"', '"private.h"',
                                     "<net/if.h>", '"record.pb-c.h"'), [])

    def test_a_room_may_not_use_one_above_it(self):
        self.assertIn("src/base/x.c:1: room base may not use room pod",
                      self.faults("src/base/x.c", '"podd/pod.h"')[0])

    def test_public_headers_are_held_to_the_same(self):
        self.assertEqual(len(self.faults("include/podd/net.h", '"podd/cri.h"')), 1)

    def test_private_headers_do_not_cross_rooms(self):
        self.assertEqual(len(self.faults("src/cri/x.c", '"../pod/private.h"', '"pod/private.h"')), 2)

    def test_cris_types_stop_at_cri(self):
        self.assertEqual(len(self.faults("src/pod/x.c", '"cri.pb-c.h"')), 1)

    def test_a_library_has_one_place(self):
        self.assertEqual(len(self.faults("src/node/x.c", "<grpc/grpc.h>")), 1)


if __name__ == "__main__":
    unittest.main()
