"""MuJoCo's own pictures of recorded frames, to hold the ray caster against.

    MUJOCO_GL=osmesa python record_pictures.py DATA OUT [--frames 24] [--size 112]

DATA is a folder of demo_data. Writes OUT/base.png and OUT/wrist.png, the pictures one below the
other, and OUT/scenes.txt: a line a frame with each box's position, rotation, half size and colour
and each camera's position, rotation and vertical field of view. Needs mujoco 3.3.7 and pillow.
"""

import argparse
import pathlib

import mujoco
import numpy as np
from PIL import Image

CAMERAS = ("base", "wrist")


def pose(data, frame, boxes, views):
    """Puts the recorded poses where MuJoCo's renderer reads them."""
    data.geom_xpos[:] = boxes["positions"][frame].reshape(-1, 3)
    data.geom_xmat[:] = boxes["rotations"][frame].reshape(-1, 9)
    for camera, view in enumerate(views[frame].reshape(-1, 12)):
        data.cam_xpos[camera] = view[:3]
        data.cam_xmat[camera] = view[3:]


def describe(model, frame, boxes, views):
    rows = [
        np.concatenate([p, r, half, c])
        for p, r, half, c in zip(
            boxes["positions"][frame].reshape(-1, 3),
            boxes["rotations"][frame].reshape(-1, 9),
            model.geom_size,
            boxes["colours"][frame].reshape(-1, 3),
        )
    ]
    for camera, view in enumerate(views[frame].reshape(-1, 12)):
        rows.append(np.append(view, model.cam_fovy[camera]))
    return " ".join(f"{np.float32(value):.9g}" for value in np.concatenate(rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", type=int, default=112)
    args = parser.parse_args()

    model = mujoco.MjModel.from_xml_path(str(args.data / "scene.xml"))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    boxes = {
        name: np.load(args.data / f"{name}.npy").astype(np.float64)
        for name in ("positions", "rotations", "colours")
    }
    views = np.load(args.data / "views.npy").astype(np.float64)
    chosen = np.linspace(0, len(views) - 1, args.frames).astype(int)

    pictures = {camera: [] for camera in CAMERAS}
    with mujoco.Renderer(model, args.size, args.size) as renderer:
        for frame in chosen:
            pose(data, frame, boxes, views)
            model.geom_rgba[:, :3] = boxes["colours"][frame].reshape(-1, 3)
            for camera in CAMERAS:
                renderer.update_scene(data, camera=camera)
                pictures[camera].append(renderer.render().copy())
    args.out.mkdir(parents=True, exist_ok=True)
    for camera in CAMERAS:
        Image.fromarray(np.concatenate(pictures[camera])).save(
            args.out / f"{camera}.png", optimize=True
        )
    lines = [describe(model, frame, boxes, views) for frame in chosen]
    (args.out / "scenes.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
