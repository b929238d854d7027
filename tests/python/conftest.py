"""Small checkpoints and observations. TENDON_COMMAND is the built command, TENDON_WORK a folder."""

import json
import os
import pathlib
import struct
import subprocess
import zlib

import numpy as np
import pytest

import tendon

COMMAND = os.environ["TENDON_COMMAND"]
WORK = pathlib.Path(os.environ["TENDON_WORK"])
PROMPT = "put the red block into the box"


def run_command(*arguments):
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True)


def refusal_of(*arguments):
    """The sentence with which the command refuses."""
    done = run_command(*arguments)
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("tendon: ") and done.stderr.count("\n") == 1
    return done.stderr[len("tendon: "):-1]


def synth(name, family, *more):
    folder = WORK / name
    done = run_command("synth", family, "--size", "mini", "--out", folder, *more)
    assert done.returncode == 0, done.stderr
    return folder


def picture(seed, height=48, width=64):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_png(path, pixels):
    def block(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + block(b"IHDR", head) +
                     block(b"IDAT", zlib.compress(rows)) + block(b"IEND", b""))


@pytest.fixture(scope="session")
def libero_folder():
    return synth("libero", "pi05")


@pytest.fixture(scope="session")
def libero_shared(libero_folder):
    return tendon.load(libero_folder, threads=1, max_steps=20000)


@pytest.fixture
def libero(libero_shared):
    libero_shared.reset(0)
    return libero_shared


@pytest.fixture
def seen():
    """What openpi's LIBERO client sends."""
    return {
        "observation/image": picture(1),
        "observation/wrist_image": picture(2),
        "observation/state": np.linspace(-0.4, 0.4, 8),
        "prompt": PROMPT,
    }


@pytest.fixture
def command_chunk(libero_folder):
    """`tendon run --json` on the same observation: actions [horizon, width]."""

    def run(seen, seed, command=(COMMAND,)):
        line = [*command, "run", libero_folder, "--json", "--threads", 1, "--seed", seed,
                "--prompt", seen["prompt"],
                "--state=" + ",".join(map(repr, map(float, seen["observation/state"])))]
        for key in ("observation/image", "observation/wrist_image"):
            file = WORK / f"{key.split('/')[1]}.png"
            write_png(file, seen[key])
            line += ["--image", f"{key}={file}"]
        done = subprocess.run(list(map(str, line)), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return np.array(json.loads(done.stdout)["actions"])

    return run
