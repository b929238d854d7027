"""What goes in, in every form that robots send it, and what comes out."""

import sys

import numpy as np
import pytest
from conftest import PROMPT, picture, run_command, synth

import tendon


def actions(policy, seen, **options):
    return policy.infer(seen, **{"seed": 3, **options})["actions"]


@pytest.mark.parametrize("command", [None, [sys.executable, "-m", "tendon"]])
def test_equals_the_command_bit_for_bit(libero, seen, command_chunk, command):
    printed = command_chunk(seen, 7, *([command] if command else []))
    assert np.array_equal(libero.infer(seen, seed=7)["actions"], printed)
    libero.reset(7)
    assert np.array_equal(libero.infer(seen)["actions"], printed)  # request 0 of a session


def test_result(libero, seen):
    result = libero.infer(seen)
    info = libero.info
    assert result["actions"].dtype == np.float64
    assert result["actions"].shape == (info.horizon, info.width) == (info.horizon, 7)
    assert result["model_actions"].dtype == np.float32
    assert result["model_actions"].shape == (info.horizon, info.model_width)
    timing = result["policy_timing"]
    assert all(isinstance(v, float) and v >= 0 for v in timing.values())
    stages = [timing[f"{s}_ms"] for s in ("vision", "prefix", "denoise")]
    assert timing["infer_ms"] == pytest.approx(sum(stages))
    assert timing["infer_ms"] <= timing["total_ms"]
    # openpi's chunk broker takes row i of every array of the result.
    assert all(v.shape[0] == info.horizon for v in result.values() if isinstance(v, np.ndarray))


def test_the_published_chunk_broker_takes_it(libero, seen):
    broker = pytest.importorskip("openpi_client.action_chunk_broker")
    chunk = libero.infer(seen)["actions"]
    libero.reset()
    robot = broker.ActionChunkBroker(libero, action_horizon=3)
    for row in chunk[:3]:
        assert np.array_equal(robot.infer(seen)["actions"], row)
    assert not np.array_equal(robot.infer(seen)["actions"], chunk[0])  # of the next chunk
    robot.reset()  # drops the rest, and asks the policy to begin anew
    assert np.array_equal(robot.infer(seen)["actions"], chunk[0])


def test_requests_draw_their_own_noise(libero, seen):
    first, second = (libero.infer(seen)["actions"] for _ in range(2))
    assert not np.array_equal(first, second)
    libero.reset()
    assert np.array_equal(libero.infer(seen)["actions"], first)
    libero.warm_up("another prompt")  # no request
    assert np.array_equal(libero.infer(seen)["actions"], second)
    assert np.array_equal(actions(libero, seen, seed=tendon._core.request_seed(0, 1)), second)


def test_noise_steps_and_pinned(libero, seen):
    info = libero.info
    noise = np.random.default_rng(0).standard_normal((info.horizon, info.model_width))
    given = libero.infer(seen, noise=noise.astype(np.float32))
    assert np.array_equal(given["actions"], actions(libero, seen, noise=noise[None], seed=9))
    assert not np.array_equal(given["actions"], actions(libero, seen, noise=noise, steps=3))
    pinned = given["model_actions"][:2]
    again = libero.infer(seen, seed=5, pinned=pinned)
    assert np.array_equal(again["model_actions"][:2], pinned)


def test_droid():
    dims = "horizon=15,prompt_len=200"
    folder = synth("droid", "pi05", "--contract", "pi05_droid", "--dims", dims)
    policy = tendon.load(folder, threads=1)
    seen = {
        "observation/exterior_image_1_left": picture(3),
        "observation/wrist_image_left": picture(4),
        "observation/joint_position": np.linspace(0, 0.6, 7, dtype=np.float32),
        "observation/gripper_position": np.array([0.25]),
        "prompt": PROMPT,
    }
    wanted = actions(policy, seen)
    assert wanted.shape == (policy.info.horizon, 8)
    for gripper in (0.25, np.float32(0.25), np.array(0.25), [0.25]):
        seen["observation/gripper_position"] = gripper
        assert np.array_equal(actions(policy, seen), wanted)
    seen["prompt"] = PROMPT.encode()
    assert np.array_equal(actions(policy, seen), wanted)


def test_aloha():
    dims = "horizon=50,action_dim=14"
    folder = synth("aloha", "pi0", "--contract", "pi0_aloha", "--dims", dims)
    policy = tendon.load(folder, threads=1)
    assert policy.metadata == {"reset_pose": [0, -1.5, 1.5, 0, 0, 0]}
    high = picture(5).transpose(2, 0, 1)
    seen = {
        "state": np.linspace(0, 0.5, 14),
        "images": {name: high for name in ("cam_high", "cam_low", "cam_left_wrist")},
        "prompt": PROMPT,
    }
    wanted = actions(policy, seen)
    assert wanted.shape == (policy.info.horizon, 14)
    flat = {"state": seen["state"], "prompt": PROMPT, "images/cam_high": high,
            "images/cam_left_wrist": high}
    assert np.array_equal(actions(policy, flat), wanted)
    with pytest.raises(tendon.Error, match=r"images/cam_high.*\[3,h,w\]"):
        policy.infer({**flat, "images/cam_high": picture(5)})
    with pytest.raises(tendon.Error, match="cam_third"):
        policy.infer({**seen, "images": {**seen["images"], "cam_third": high}})
    policy.warm_up("pick")


@pytest.mark.parametrize("prompt", [
    PROMPT.encode(), np.str_(PROMPT), np.array(PROMPT), np.array([PROMPT]),
    np.array(PROMPT.encode()),
])
def test_prompt_forms(libero, seen, prompt):
    wanted = actions(libero, seen)
    assert np.array_equal(actions(libero, {**seen, "prompt": prompt}), wanted)
    assert not np.array_equal(actions(libero, {**seen, "prompt": "go home"}), wanted)


def as_part(a):
    """The same values as the part of a larger array: rows lie apart."""
    larger = np.zeros((a.shape[0] + 3, a.shape[1] + 5, 3), a.dtype)
    larger[1:-2, 2:-3] = a
    return larger[1:-2, 2:-3]


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


@pytest.mark.parametrize("form", [
    lambda a: a.transpose(2, 0, 1), lambda a: np.ascontiguousarray(a.transpose(2, 0, 1)), as_part,
    read_only, np.asfortranarray, lambda a: a[::-1].copy()[::-1],
    lambda a: a[:, ::-1].copy()[:, ::-1],
], ids=["chw", "chw_dense", "part", "read_only", "fortran", "rows_reversed", "columns_reversed"])
def test_picture_layouts(libero, seen, form):
    wanted = actions(libero, seen)
    assert np.array_equal(actions(libero, {**seen, "observation/image": form(picture(1))}), wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", np.float16])
def test_float_pictures(libero, seen, dtype):
    floats = (picture(1) / 255).astype(dtype)
    seen["observation/image"] = (255 * floats).astype(np.uint8)
    wanted = actions(libero, seen)
    assert np.array_equal(actions(libero, {**seen, "observation/image": floats}), wanted)


@pytest.mark.parametrize("dtype", ["f4", ">f4", ">f8", "f2", "i4", "i8", "u1", "?"])
def test_state_types(libero, seen, dtype):
    state = np.array([0, 1, 1, 0, 0, 1, 0, 1])
    wanted = actions(libero, {**seen, "observation/state": state.astype(float)})
    for form in (state.astype(dtype), state.astype(dtype)[None],
                 np.repeat(state.astype(dtype), 2)[::2]):
        assert np.array_equal(actions(libero, {**seen, "observation/state": form}), wanted)


def test_lists_and_unknown_keys(libero, seen):
    wanted = actions(libero, seen)
    seen["observation/state"] = list(seen["observation/state"])
    seen["timestamp"] = object()
    seen["extras"] = {"depth": np.zeros((4, 4)), "name": "arm 1", "nothing": None}
    assert np.array_equal(actions(libero, seen), wanted)


def test_info(libero, libero_folder):
    info = libero.info
    assert (info.family, info.contract, info.dtype) == ("pi05", "pi05_libero", "f32")
    assert {i.key: i.size for i in info.inputs} == {
        "observation/image": 0, "observation/wrist_image": 0, "observation/state": 8}
    assert all(i.required for i in info.inputs) and info.needs_prompt and info.weight_bytes > 0
    inspected = run_command("inspect", libero_folder).stdout
    assert info.weights_fingerprint in inspected
    assert "observation/wrist_image: picture of slot left_wrist_0_rgb; also" in inspected
    assert "observation/state: 8 numbers\n" in inspected
    assert "pi05_libero" in repr(libero) and libero.metadata == {}


def test_load_options(libero_folder, seen):
    told = []
    policy = tendon.load(str(libero_folder), dtype="bf16", default_prompt=PROMPT, threads=1, seed=7,
                         progress=lambda what, done: told.append((what, done)))
    assert policy.info.dtype == "bf16" and told and all(0 <= d <= 1 for _, d in told)
    wanted = policy.infer(seen)["actions"]
    del seen["prompt"]
    assert np.array_equal(policy.infer(seen, seed=7)["actions"], wanted)


def test_an_exception_of_progress_ends_the_loading(libero_folder):
    def stop(what, done):
        raise KeyError(what)

    with pytest.raises(KeyError):
        tendon.load(libero_folder, progress=stop)
