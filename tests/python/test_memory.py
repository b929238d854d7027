"""Arrays are read and handed out where they lie."""

import gc
import subprocess
import sys
import weakref

import numpy as np

SCRIPT = """
import resource, sys
import numpy as np
import tendon

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

policy = tendon.load(sys.argv[1], threads=1)
small = np.full((64, 64, 3), 7, np.uint8)
seen = {"observation/image": small, "observation/wrist_image": small,
        "observation/state": np.zeros(8), "prompt": "pick"}
large = np.full((6000, 6000, 3), 7, np.uint8)     # 108 MB, dense rows
part = large[:, 1:-1]                             # rows lie apart
policy.infer(seen)
before = peak()
for array in (large, part):
    policy.infer({**seen, "observation/image": array})
in_place = peak() - before
policy.infer({**seen, "observation/image": np.transpose(large, (2, 0, 1))[::-1].transpose(1, 2, 0)})
copied = peak() - before
print(in_place, copied)
"""


def test_pictures_are_read_in_place(libero_folder):
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(libero_folder)], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    in_place, copied = map(int, done.stdout.split())
    assert in_place < 30e6  # the resize's own rows
    assert copied > 100e6  # another order of colours: it has to be; the measurement sees copies


def test_actions_own_the_chunk(libero, seen):
    result = libero.infer(seen, seed=1)
    actions = result["actions"]
    assert not actions.flags.owndata and actions.flags.writeable and actions.flags.c_contiguous
    kept = actions.copy()
    row = actions[3]
    del result, actions
    gc.collect()
    libero.infer(seen, seed=2)  # writes into memory of its own
    assert np.array_equal(row, kept[3])


def test_inputs_are_let_go(libero, seen):
    libero.infer(seen)
    image = weakref.ref(seen["observation/image"])
    seen.clear()
    gc.collect()
    assert image() is None
