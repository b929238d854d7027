"""pi0.5 as functions over a dict of tensors that carry openpi's names.

Letters: B observations, V cameras, T tokens, H horizon, A action width, D width.
"""

import dataclasses
import json
import math

import torch
from torch.nn import functional

PALIGEMMA = "paligemma_with_expert.paligemma."
VISION = PALIGEMMA + "model.vision_tower.vision_model."
PREFIX = PALIGEMMA + "model.language_model."
EXPERT = "paligemma_with_expert.gemma_expert."
TOKEN_TABLE = PALIGEMMA + "lm_head.weight"


@dataclasses.dataclass(frozen=True)
class Dims:
    image: int = 112
    patch: int = 14
    vision_width: int = 128
    vision_layers: int = 4
    vision_heads: int = 4
    vision_mlp: int = 512
    prefix_width: int = 192
    prefix_mlp: int = 512
    expert_width: int = 128
    expert_mlp: int = 384
    layers: int = 4
    heads: int = 8
    head_dim: int = 16
    vocab: int = 851
    action_dim: int = 32
    horizon: int = 16
    capacity: int = 32  # tokens of a prompt
    real_dims: int = 5  # leading action dimensions that the robot has

    @property
    def patches(self):
        return (self.image // self.patch) ** 2


def tensor_shapes(d):
    shapes = {}

    def linear(name, outputs, inputs, bias):
        shapes[name + ".weight"] = (outputs, inputs)
        if bias:
            shapes[name + ".bias"] = (outputs,)

    def norm(name):
        shapes[name + ".weight"] = shapes[name + ".bias"] = (d.vision_width,)

    w = d.vision_width
    shapes[VISION + "embeddings.patch_embedding.weight"] = (w, 3, d.patch, d.patch)
    shapes[VISION + "embeddings.patch_embedding.bias"] = (w,)
    shapes[VISION + "embeddings.position_embedding.weight"] = (d.patches, w)
    for layer in range(d.vision_layers):
        at = f"{VISION}encoder.layers.{layer}."
        norm(at + "layer_norm1")
        norm(at + "layer_norm2")
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(at + "self_attn." + name, w, w, True)
        linear(at + "mlp.fc1", d.vision_mlp, w, True)
        linear(at + "mlp.fc2", w, d.vision_mlp, True)
    norm(VISION + "post_layernorm")
    linear(PALIGEMMA + "model.multi_modal_projector.linear", d.prefix_width, w, True)
    for layer in range(d.layers):
        gemma_layer(d, f"{PREFIX}layers.{layer}.", d.prefix_width, d.prefix_mlp, linear)
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{PREFIX}layers.{layer}.{name}.weight"] = (d.prefix_width,)
        at = f"{EXPERT}model.layers.{layer}."
        gemma_layer(d, at, d.expert_width, d.expert_mlp, linear)
        for name in ("input_layernorm", "post_attention_layernorm"):
            linear(at + name + ".dense", 3 * d.expert_width, d.expert_width, True)
    shapes[PREFIX + "norm.weight"] = (d.prefix_width,)
    linear(EXPERT + "model.norm.dense", 3 * d.expert_width, d.expert_width, True)
    shapes[TOKEN_TABLE] = (d.vocab, d.prefix_width)
    linear("action_in_proj", d.expert_width, d.action_dim, True)
    linear("action_out_proj", d.action_dim, d.expert_width, True)
    linear("time_mlp_in", d.expert_width, d.expert_width, True)
    linear("time_mlp_out", d.expert_width, d.expert_width, True)
    return shapes


def gemma_layer(d, at, width, mlp, linear):
    linear(at + "self_attn.q_proj", d.heads * d.head_dim, width, False)
    linear(at + "self_attn.k_proj", d.head_dim, width, False)
    linear(at + "self_attn.v_proj", d.head_dim, width, False)
    linear(at + "self_attn.o_proj", width, d.heads * d.head_dim, False)
    linear(at + "mlp.gate_proj", mlp, width, False)
    linear(at + "mlp.up_proj", mlp, width, False)
    linear(at + "mlp.down_proj", width, mlp, False)


# Residual branches start small, so that a deep stack starts near the identity.
BRANCH_ENDS = ("o_proj.weight", "down_proj.weight", "out_proj.weight", "fc2.weight")


def initial_tensor(name, shape, generator):
    if ".dense." in name:  # modulation: identity, gates open
        value = torch.zeros(shape)
        if name.endswith("bias"):
            value[2 * shape[0] // 3 :] = 1.0
        return value
    if name.startswith(VISION) and ("layer_norm" in name or "post_layernorm" in name):
        return torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
    if len(shape) == 1 or name == "action_out_proj.weight":
        return torch.zeros(shape)
    value = torch.randn(shape, generator=generator)
    if "position_embedding" in name:
        return value * 0.5
    value = value / math.sqrt(math.prod(shape[1:]))
    return value * 0.4 if name.endswith(BRANCH_ENDS) else value


def initial(d, seed, device):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: initial_tensor(name, shape, generator).to(device)
        for name, shape in tensor_shapes(d).items()
    }


def stored(folder, device):
    """The tensors of a policy's file in fp32."""
    from safetensors.torch import load_file

    tensors = load_file(str(folder / "model.safetensors"))
    return {name: x.float().to(device) for name, x in tensors.items() if "lm_head" not in name
            or name == TOKEN_TABLE}


def dense(p, name, x):
    return functional.linear(x, p[name + ".weight"], p.get(name + ".bias"))


def layer_norm(p, name, x):
    scale, shift = p[name + ".weight"].float(), p[name + ".bias"].float()
    return functional.layer_norm(x.float(), scale.shape, scale, shift, 1e-6).to(x.dtype)


def rms(x):
    x = x.float()
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def gelu(x):
    return functional.gelu(x, approximate="tanh")


def rope(x, positions):
    """x [B, heads, T, Dh], positions [B, T]; halves are rotated against each other."""
    half = x.shape[-1] // 2
    steps = torch.arange(0, 2 * half, 2, device=x.device, dtype=torch.float32)
    angle = positions[:, None, :, None].float() / (10000 ** (steps / (2 * half)))
    first, second = x.float().chunk(2, -1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def attention(q, k, v, mask=None):
    """[B, heads, T, Dh] each; mask: true where a query sees a key."""
    if hasattr(functional, "scaled_dot_product_attention"):
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # before torch 2.0
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ v


def vision(p, d, images):
    """images [N, 3, S, S] in [-1, 1] -> [N, patches, prefix width]"""
    weight, bias = (p[VISION + "embeddings.patch_embedding." + n] for n in ("weight", "bias"))
    x = functional.conv2d(images, weight, bias, stride=d.patch).flatten(2).transpose(1, 2)
    x = x + p[VISION + "embeddings.position_embedding.weight"]
    n, t, w = x.shape
    for layer in range(d.vision_layers):
        at = f"{VISION}encoder.layers.{layer}."
        y = layer_norm(p, at + "layer_norm1", x)
        q, k, v = (
            dense(p, f"{at}self_attn.{name}_proj", y)
            .view(n, t, d.vision_heads, w // d.vision_heads)
            .transpose(1, 2)
            for name in "qkv"
        )
        mixed = attention(q, k, v).transpose(1, 2).reshape(n, t, w)
        x = x + dense(p, at + "self_attn.out_proj", mixed)
        y = layer_norm(p, at + "layer_norm2", x)
        x = x + dense(p, at + "mlp.fc2", gelu(dense(p, at + "mlp.fc1", y)))
    x = layer_norm(p, VISION + "post_layernorm", x.float())
    return dense(p, PALIGEMMA + "model.multi_modal_projector.linear", x)


def heads(p, d, at, y, positions):
    b, t, _ = y.shape

    def split(name, count):
        return dense(p, at + "self_attn." + name, y).view(b, t, count, d.head_dim).transpose(1, 2)

    q, k, v = split("q_proj", d.heads), split("k_proj", 1), split("v_proj", 1)
    return rope(q, positions).to(v.dtype), rope(k, positions).to(v.dtype), v


def attend(p, at, q, k, v, mask):
    count = q.shape[1]
    k, v = (x.expand(-1, count, -1, -1) for x in (k, v))
    mixed = attention(q, k, v, mask)
    return dense(p, at + "self_attn.o_proj", mixed.transpose(1, 2).flatten(2))


def gated_mlp(p, at, y):
    inner = gelu(dense(p, at + "mlp.gate_proj", y)) * dense(p, at + "mlp.up_proj", y)
    return dense(p, at + "mlp.down_proj", inner)


@dataclasses.dataclass
class Prefix:
    keys_values: list  # of each layer: k, v [B, 1, T, Dh]
    valid: torch.Tensor  # [B, T]
    length: torch.Tensor  # [B]
    hidden: torch.Tensor = None  # [B, T, D], after the last norm; for the auxiliary head


def prefix(p, d, images, ids, count, with_hidden=False):
    """images [B, V, 3, S, S] in [-1, 1], ids [B, capacity], count [B] tokens that are real."""
    b = images.shape[0]
    seen = vision(p, d, images.flatten(0, 1)).view(b, -1, d.prefix_width)
    words = functional.embedding(ids, p[TOKEN_TABLE]) * math.sqrt(d.prefix_width)
    x = torch.cat([seen, words.to(seen.dtype)], 1)
    length = seen.shape[1] + count
    places = torch.arange(x.shape[1], device=x.device)[None]
    valid = places < length[:, None]
    positions = torch.minimum(places, length[:, None] - 1)
    out = Prefix([], valid, length)
    for layer in range(d.layers):
        at = f"{PREFIX}layers.{layer}."
        y = (rms(x) * (1 + p[at + "input_layernorm.weight"].float())).to(x.dtype)
        q, k, v = heads(p, d, at, y, positions)
        out.keys_values.append((k, v))
        if layer == d.layers - 1 and not with_hidden:
            return out
        x = x + attend(p, at, q, k, v, valid[:, None, None, :])
        y = (rms(x) * (1 + p[at + "post_attention_layernorm.weight"].float())).to(x.dtype)
        x = x + gated_mlp(p, at, y)
    out.hidden = rms(x) * (1 + p[PREFIX + "norm.weight"].float())
    return out


def time_embedding(times, width):
    """Sines and cosines of 2 pi t / period, periods from 0.004 to 4 in geometric steps."""
    fraction = torch.linspace(0, 1, width // 2, dtype=torch.float64, device=times.device)
    angle = times.double()[:, None] * (2 * math.pi / (4e-3 * 1000**fraction))
    return torch.cat([angle.sin(), angle.cos()], -1).float()


def modulated(p, name, x, condition):
    scale, shift, gate = dense(p, name + ".dense", condition)[:, None].float().chunk(3, -1)
    return rms(x) * (1 + scale) + shift, gate


def velocity(p, d, context, x, times):
    """x [B, H, A], times [B] -> [B, H, A] fp32"""
    condition = time_embedding(times, d.expert_width)
    for name in ("time_mlp_in", "time_mlp_out"):
        condition = functional.silu(dense(p, name, condition))
    h = dense(p, "action_in_proj", x)
    steps = torch.arange(d.horizon, device=x.device)[None]
    positions = context.length[:, None] + steps
    mask = torch.cat([context.valid, torch.ones_like(positions, dtype=torch.bool)], 1)
    for layer, (keys, values) in enumerate(context.keys_values):
        at = f"{EXPERT}model.layers.{layer}."
        y, gate = modulated(p, at + "input_layernorm", h, condition)
        q, k, v = heads(p, d, at, y.to(h.dtype), positions)
        k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        h = h + (attend(p, at, q, k, v, mask[:, None, None, :]) * gate).to(h.dtype)
        y, gate = modulated(p, at + "post_attention_layernorm", h, condition)
        h = h + (gated_mlp(p, at, y.to(h.dtype)) * gate).to(h.dtype)
    y, _ = modulated(p, EXPERT + "model.norm", h, condition)
    return dense(p, "action_out_proj", y).float()


@torch.no_grad()
def sample(p, d, observation, noise, steps):
    """observation: images u8 [B, V, S, S, 3], ids, count. Euler from t = 1 to 0."""
    images, ids, count = observation
    context = prefix(p, d, pixels(images), ids, count)
    x = noise.float()
    for step in range(steps):
        times = torch.full((x.shape[0],), 1 - step / steps, device=x.device)
        x = x - velocity(p, d, context, x, times) / steps
    return x


def pixels(images):
    return images.permute(0, 1, 4, 2, 3).float() / 127.5 - 1


def flow_loss(p, d, batch, noise, times):
    """Each observation's prefix serves noise.shape[0] / B pairs of noise and time.

    batch: images, ids, count, actions [B, H, A] and, for the auxiliary head, target [B, 6] with
    head (weight, bias) or None. Returns the loss to descend, and its flow and auxiliary parts.
    """
    images, ids, count, actions, target, head = batch
    context = prefix(p, d, pixels(images), ids, count, with_hidden=head is not None)
    repeats = noise.shape[0] // images.shape[0]

    def repeated(x):
        return x.repeat(repeats, *[1] * (x.dim() - 1))

    auxiliary = torch.zeros((), device=ids.device)
    if head is not None:
        rows = torch.arange(len(ids), device=ids.device)
        last = context.hidden[rows, context.length - 1]
        guess = functional.linear(last, *head).float()
        auxiliary = functional.smooth_l1_loss(guess, target)
    context = Prefix(
        [(repeated(k), repeated(v)) for k, v in context.keys_values],
        repeated(context.valid),
        repeated(context.length),
    )
    actions, t = repeated(actions), times[:, None, None]
    error = velocity(p, d, context, t * noise + (1 - t) * actions, times) - (noise - actions)
    error = error.pow(2)
    flow = error[..., : d.real_dims].mean()
    padded = error[..., d.real_dims :].mean()  # stays small, so that Euler's steps keep it at zero
    return flow + 0.05 * padded + 0.3 * auxiliary, flow.detach(), auxiliary.detach()


def save(p, d, folder):
    """openpi's file: every tensor of its classes, the tied table by its alias, bf16."""
    from safetensors.torch import save_file

    tensors = {k: v.detach().to(torch.bfloat16).contiguous().cpu() for k, v in p.items()}
    tensors[EXPERT + "lm_head.weight"] = torch.zeros(d.vocab, d.expert_width, dtype=torch.bfloat16)
    alias = {PREFIX + "embed_tokens.weight": TOKEN_TABLE}
    save_file(tensors, str(folder / "model.safetensors"), metadata=alias)
    config = {**dataclasses.asdict(d), "kv_heads": 1, "cameras": 2, "normalisation": "quantile"}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
