"""Bad input is a tendon.Error with the engine's sentence, and the policy works on afterwards."""

import numpy as np
import pytest
from conftest import picture, refusal_of

import tendon


def test_load(libero_folder):
    with pytest.raises(tendon.Error) as absent:
        tendon.load("/nowhere/at/all")
    assert str(absent.value) == refusal_of("run", "/nowhere/at/all")
    for options in ({"device": "abacus"}, {"contract": "nonsense"}, {"dtype": "f12"},
                    {"schedule": "late"}, {"statistics": "/nowhere/stats.json"}):
        with pytest.raises(tendon.Error, match=next(iter(options.values()))):
            tendon.load(libero_folder, **options)
    with pytest.raises(tendon.Error) as unknown:
        tendon.load(libero_folder, contract="nonsense")
    assert str(unknown.value) == refusal_of("run", libero_folder, "--contract", "nonsense")
    assert issubclass(tendon.Error, RuntimeError) and tendon.Error.__module__ == "tendon"


def without(seen, key):
    return {k: v for k, v in seen.items() if k != key}


@pytest.mark.parametrize("change, words", [
    (lambda s: without(s, "observation/image"), "lacks observation/image; it has .*prompt"),
    (lambda s: without(s, "observation/state"), "lacks observation/state"),
    (lambda s: without(s, "prompt"), "lacks prompt"),
    (lambda s: {**s, "observation/state": np.zeros(3)}, r"observation/state: 8 numbers.*\[3\]"),
    (lambda s: {**s, "observation/state": [0, 0, np.nan, 0, 0, 0, 0, 0]}, "not finite"),
    (lambda s: {**s, "observation/state": np.zeros(8, complex)}, "observation/state: complex128"),
    (lambda s: {**s, "observation/state": "left"}, "observation/state"),
    (lambda s: {**s, "observation/state": None}, "observation/state"),
    (lambda s: {**s, "observation/image": picture(1)[..., 0]}, "three axes"),
    (lambda s: {**s, "observation/image": picture(1).astype(np.int32)}, "int32"),
    (lambda s: {**s, "observation/image": np.zeros((0, 4, 3), np.uint8)}, "no picture"),
    (lambda s: {**s, "prompt": b"\xff\xfe"}, "UTF-8"),
    (lambda s: {**s, "prompt": "z" * 3000}, "tokens where the model takes"),
    (lambda s: {}, "lacks .*; it has nothing"),
])
def test_observation(libero, seen, change, words):
    wanted = libero.infer(seen, seed=1)["actions"]
    with pytest.raises(tendon.Error, match=words):
        libero.infer(change(seen))
    assert np.array_equal(libero.infer(seen, seed=1)["actions"], wanted)


@pytest.mark.parametrize("options, words", [
    ({"noise": np.zeros((2, 2))}, "noise"),
    ({"noise": np.full((10, 32), np.inf)}, "noise"),
    ({"pinned": np.zeros(5)}, "pinned"),
    ({"steps": -1}, "steps"),
    ({"pin_rule": "soft"}, "family, conditioned, renoised, clamped"),
    ({"shift": 5.0}, "shift"),
    ({"steps": 10**6}, "steps"),
])
def test_options(libero, seen, options, words):
    with pytest.raises(tendon.Error, match=words):
        libero.infer(seen, **options)


def test_strict(libero_folder, seen):
    policy = tendon.load(libero_folder, strict=True, threads=1)
    policy.infer(seen)
    with pytest.raises(tendon.Error, match="extras/depth, wind.*strict"):
        policy.infer({**seen, "wind": 3.0, "extras": {"depth": np.zeros(4)}})


def test_a_refused_request_has_no_number(libero, seen):
    wanted = [libero.infer(seen)["actions"] for _ in range(2)]
    libero.reset()
    assert np.array_equal(libero.infer(seen)["actions"], wanted[0])
    with pytest.raises(tendon.Error):
        libero.infer({})
    assert np.array_equal(libero.infer(seen)["actions"], wanted[1])
