"""How long tests wait, on machines of different speed.

PODD_TEST_PATIENCE multiplies every time limit: in an emulated machine everything takes ten times as
long.
"""
import os

PATIENCE = float(os.environ.get("PODD_TEST_PATIENCE", "1"))


def patient(seconds):
    return seconds * PATIENCE
