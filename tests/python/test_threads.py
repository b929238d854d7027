"""The interpreter's lock is free during inference; callers wait in line."""

import threading
import time

import numpy as np

import tendon


def test_other_threads_run_during_inference_and_loading(libero, libero_folder, seen):
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        start = time.monotonic()
        steps = 0
        while time.monotonic() - start < 0.3:  # one call of at least that
            steps = max(50, steps * 4)
            start = time.monotonic()
            libero.infer(seen, steps=steps)
            end = time.monotonic()
            if end - start >= 0.3 or steps >= 12800:
                break
        # Locked out it would tick at most once, before the call took the lock.
        assert sum(start < t < end for t in ticks) >= 10, (end - start, steps)
        start = time.monotonic()
        tendon.load(libero_folder)
        end = time.monotonic()
        assert sum(start < t < end for t in ticks) >= 5
    finally:
        stop.set()
        thread.join()


def test_callers_on_many_threads_get_their_own_answers(libero, seen):
    wanted = [libero.infer(seen, seed=s)["actions"] for s in range(6)]
    got, errors = [None] * 6, []

    def call(s):
        for _ in range(5):
            try:
                got[s] = libero.infer(seen, seed=s)["actions"]
                libero.infer({})
            except tendon.Error as e:
                errors.append(str(e))

    threads = [threading.Thread(target=call, args=(s,)) for s in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(np.array_equal(a, b) for a, b in zip(wanted, got))
    assert len(errors) == 30 and all("lacks" in e for e in errors)
