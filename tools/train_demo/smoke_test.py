"""A few iterations of the whole training on the CPU, and a step by step look at what it writes.

    python3 smoke_test.py DEMO_DATA

Debian's torch does (`tools/install_deps.sh training`); it belongs to /usr/bin/python3. Skipped
(exit 77) where no interpreter has torch, safetensors, sentencepiece and pillow.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
DEBIAN = "/usr/bin/python3"


def run_by_debians_python():
    """Does not return where that has what is needed, .venv's packages included."""
    local = HERE.parent.parent.glob(".venv/lib/python3*/site-packages")
    paths = ":".join(map(str, local))
    if os.environ.get("PYTHONPATH") == paths or not os.path.exists(DEBIAN):
        return
    os.execve(DEBIAN, [DEBIAN, "-B", *sys.argv], {**os.environ, "PYTHONPATH": paths})


try:
    import numpy as np
    import safetensors.torch
    import sentencepiece  # noqa: F401
    import torch
    from PIL import Image
except ImportError as missing:
    run_by_debians_python()
    print("skipped:", missing)
    sys.exit(77)

sys.path.insert(0, str(HERE))

import golden  # noqa: E402
import pi05  # noqa: E402
from frames import Frames  # noqa: E402
from render import Renderer  # noqa: E402

ASSETS = HERE.parent.parent / "assets"
SHIPPED = ASSETS / "pick_block"


def train(generator, out, *options):
    command = [sys.executable, str(HERE / "train.py"), "--generator", generator, "--out", str(out),
               "--episodes", "2", "--iterations", "4", "--batch", "2", "--pairs", "2",
               "--seeds", "1", "--no-compile", "--device", "cpu", *options]
    subprocess.run(command, check=True)


def test_training_runs_and_writes_a_policy(generator, out):
    train(generator, out, "--tokenizer-lines", "2000")
    folder = out / "seed_0"
    shipped = safetensors.torch.load_file(str(SHIPPED / "model.safetensors"))
    written = safetensors.torch.load_file(str(folder / "model.safetensors"))
    assert set(written) == set(shipped), set(written) ^ set(shipped)
    for name, tensor in written.items():
        assert tensor.dtype == torch.bfloat16 and torch.isfinite(tensor.float()).all(), name
        if not name.endswith("lm_head.weight"):  # the vocabulary may differ
            assert tensor.shape == shipped[name].shape, name
    for name in ("config.json", "norm_stats.json", "tendon.json", "golden.json", "training.json"):
        json.loads((folder / name).read_text())
    assert (folder / "tokenizer.model").stat().st_size > 5000
    assert json.loads((folder / "training.json").read_text())["iterations"] == 4


def test_training_goes_on_from_a_policy(generator, out):
    train(generator, out, "--begin", str(SHIPPED), "--corrections", "2", "--every", "2",
          "--rate", "1e-5", "--keep", "0.5", "--no-auxiliary")
    folder = out / "seed_0"
    words, numbers = "tokenizer.model", "norm_stats.json"
    assert (folder / words).read_bytes() == (SHIPPED / words).read_bytes()
    mine, given = (json.loads((f / numbers).read_text())["norm_stats"] for f in (folder, SHIPPED))
    assert mine == given
    shipped = safetensors.torch.load_file(str(SHIPPED / "model.safetensors"))
    written = safetensors.torch.load_file(str(folder / "model.safetensors"))
    strayed = [(x.float() - shipped[name].float()).abs().max().item()
               for name, x in written.items()]
    assert 0 < max(strayed) < 0.05, max(strayed)
    corrected = len(np.load(out / "corrections" / "episode.npy"))
    assert 0 < corrected < 2 * (110 + 13), corrected


def test_forward_gives_the_recorded_chunks(folder):
    tensors = {k: v.float() for k, v in
               safetensors.torch.load_file(str(folder / "model.safetensors")).items()}
    recorded = safetensors.torch.load_file(str(folder / "golden.safetensors"))
    dims = pi05.Dims()
    for i, words in enumerate(json.loads((folder / "golden.json").read_text())):
        ids = torch.tensor([words["ids"] + [0] * (dims.capacity - len(words["ids"]))])
        count = torch.tensor([len(words["ids"])])
        images = recorded[f"{i}.images"][None]
        noise = recorded[f"{i}.noise"][None]
        chunk = pi05.sample(tensors, dims, (images, ids, count), noise, golden.STEPS)
        worst = (chunk[0] - recorded[f"{i}.chunk"]).abs().max().item()
        assert worst < 1e-5, (i, worst)


def test_frames_are_chunks_that_end_with_their_episode(out):
    frames = Frames(out / "data", 16)
    number = frames.fields["episode"][:, 0]
    last = np.flatnonzero(number[1:] != number[:-1])[0]
    chunk = frames.chunks(16)[last]
    assert (chunk == frames.fields["action"][last]).all()
    assert frames.actions.shape == (len(frames), 16, 5)
    assert len(frames.half_sizes) == frames.fields["positions"].shape[1] // 3


def test_pictures_equal_mujocos(size=112):
    """The fixture of the C++ ray caster: its boxes and views, drawn here."""
    folder = HERE.parent.parent / "tests" / "golden" / "ray_caster"
    rows = np.loadtxt(folder / "scenes.txt", dtype=np.float32)
    boxes, views = rows[:, :198].reshape(-1, 11, 18), rows[:, 198:].reshape(-1, 2, 13)
    parts = boxes[..., :3], boxes[..., 3:12], boxes[..., 15:18], views[..., :12]
    frames = [np.ascontiguousarray(part.reshape(len(rows), -1)) for part in parts]
    drawn = Renderer(boxes[0, :, 12:15], size, "cpu")(frames).numpy()
    wanted = [np.array(Image.open(folder / f"{name}.png")).reshape(-1, size, size, 3)
              for name in ("base", "wrist")]
    different = (drawn != np.stack(wanted, 1)).any(-1).sum()
    assert different <= 0.0002 * drawn[..., 0].size, different


def main():
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder)
        test_training_runs_and_writes_a_policy(sys.argv[1], out)
        test_training_goes_on_from_a_policy(sys.argv[1], out / "further")
        test_frames_are_chunks_that_end_with_their_episode(out)
        test_forward_gives_the_recorded_chunks(SHIPPED)
        test_forward_gives_the_recorded_chunks(ASSETS / "blocks")
        test_pictures_equal_mujocos()
    print("ok")


if __name__ == "__main__":
    main()
