"""The simulation's box ray caster on tensors, for pictures by the hundred thousand."""

import math

import torch

NEAR = 0.02
FOVY = (55.0, 80.0)  # base, wrist: of scene.xml
LIGHT = (-0.35, 0.25, -0.9)


def rays(size, fovy, device):
    """Directions [size * size, 3] in the camera's frame, top row first."""
    reach = math.tan(math.radians(fovy) / 2)
    centre = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(-centre * reach, centre * reach, indexing="ij")
    return torch.stack([x, y, -torch.ones_like(x)], -1).reshape(-1, 3)


def draw(boxes, view, light, directions):
    """boxes: position [B, G, 3], rotation [B, G, 3, 3], half [G, 3], colour [B, G, 3];
    view: position [B, 3], rotation [B, 3, 3]; light: ambient, diffuse [B], direction [B, 3].
    Returns u8 [B, rays, 3]."""
    position, rotation, half, colour = boxes
    eye, turn = view
    ambient, diffuse, down = light
    origin = torch.einsum("bgij,bgi->bgj", rotation, eye[:, None] - position)
    axes = torch.einsum("bgij,bik->bgjk", rotation, turn)
    lit = -torch.einsum("bgij,bi->bgj", rotation, down)
    count = position.shape[0], directions.shape[0]
    nearest = torch.full(count, 1e9, device=eye.device)
    picture = torch.zeros(*count, 3, device=eye.device)
    for g in range(position.shape[1]):
        enter = torch.full_like(nearest, -1e9)
        leave = torch.full_like(nearest, 1e9)
        facing = torch.zeros_like(nearest)
        for a in range(3):
            along = (axes[:, g, a, None] * directions[None]).sum(-1)
            along = torch.where(along.abs() < 1e-9, 1e-9, along)
            sign = torch.where(along > 0, 1.0, -1.0)
            start = origin[:, g, a, None]
            first = (-half[g, a] * sign - start) / along
            enters_here = first > enter
            enter = torch.where(enters_here, first, enter)
            facing = torch.where(enters_here, -sign * lit[:, g, a, None], facing)
            leave = torch.minimum(leave, (half[g, a] * sign - start) / along)
        hit = (enter < leave) & (enter > NEAR) & (enter < nearest)
        nearest = torch.where(hit, enter, nearest)
        weight = ambient[:, None] + diffuse[:, None] * facing.clamp(min=0)
        picture = torch.where(hit[..., None], colour[:, g, None] * weight[..., None], picture)
    return (picture.clamp(0, 1) * 255 + 0.5).to(torch.uint8)


class Renderer:
    """Draws both cameras of recorded frames; `jitter`, a generator, varies light, colours and
    camera places a little per frame."""

    def __init__(self, half_sizes, size, device):
        self.half = torch.as_tensor(half_sizes, dtype=torch.float32, device=device)
        self.size, self.device = size, device
        self.rays = [rays(size, fovy, device) for fovy in FOVY]
        direction = torch.tensor(LIGHT, device=device)
        self.down = direction / direction.norm()

    def __call__(self, frames, jitter=None):
        """frames: positions, rotations, colours, views as recorded -> u8 [B, 2, S, S, 3]"""
        position, rotation, colour, views = (
            torch.as_tensor(x, dtype=torch.float32, device=self.device) for x in frames
        )
        b, g = len(position), len(self.half)
        boxes = [position.view(b, g, 3), rotation.view(b, g, 3, 3), self.half, colour.view(b, g, 3)]
        views = views.view(b, 2, 12)
        eyes, turns = views[:, :, :3], views[:, :, 3:].reshape(b, 2, 3, 3)
        half = torch.full((b,), 0.5, device=self.device)
        light = [half, half, self.down.expand(b, 3)]
        if jitter is not None:
            boxes, eyes, light = self.varied(boxes, eyes, light, jitter)
        pictures = [
            draw(boxes, (eyes[:, c], turns[:, c]), light, self.rays[c]) for c in range(2)
        ]
        return torch.stack(pictures, 1).view(b, 2, self.size, self.size, 3)

    def varied(self, boxes, eyes, light, generator):
        def normal(like, deviation):
            noise = torch.randn(like.shape, device=self.device, generator=generator)
            return like + deviation * noise

        ambient, diffuse, down = light
        down = torch.nn.functional.normalize(normal(down, 0.05), dim=-1)
        boxes = [*boxes[:3], normal(boxes[3], 0.015).clamp(0, 1)]
        eyes = torch.stack([normal(eyes[:, 0], 2e-3), normal(eyes[:, 1], 7e-4)], 1)
        return boxes, eyes, [normal(ambient, 0.03), normal(diffuse, 0.03), down]
