"""Hugging Face's MobileViT in PyTorch with random weights, and the same weights for our networks."""

import keras
import numpy as np
import torch
import transformers

from mobilevit_core.models.mobilevit import VARIANTS

MV2 = {"expand": "expand_1x1", "depthwise": "conv_3x3", "reduce": "reduce_1x1"}
LOCAL = {"local": "conv_kxk", "project_in": "conv_1x1", "project_out": "conv_projection", "fusion": "fusion"}
TRANSFORMER = {
    "attention_norm": "layernorm_before",
    "attention_out": "attention.output.dense",
    "ffn_norm": "layernorm_after",
    "ffn_in": "intermediate.dense",
    "ffn_out": "output.dense",
}


def reference(variant: str, num_labels: int = 7) -> transformers.MobileViTForImageClassification:
    spec = VARIANTS[variant]
    config = transformers.MobileViTConfig(
        hidden_sizes=list(spec.dims),
        neck_hidden_sizes=[16, *spec.channels, 4 * spec.channels[-1]],
        expand_ratio=float(spec.expansion),
        num_labels=num_labels,
    )
    torch.manual_seed(0)
    model = transformers.MobileViTForImageClassification(config).eval()
    for module in model.modules():  # fresh statistics and scales would hide a wrong epsilon or order
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.05, 0.5)
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.LayerNorm):
            torch.nn.init.uniform_(module.weight, 0.7, 1.4)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    return model


def names_of_reference() -> dict[str, str]:
    """Our layer prefix -> the reference's prefix."""
    encoder = "mobilevit.encoder.layer"
    names = {"stem": "mobilevit.conv_stem", "last": "mobilevit.conv_1x1_exp", "logits": "classifier"}
    blocks = {"stage1_mv0": f"{encoder}.0.layer.0"}
    blocks |= {f"stage2_mv{index}": f"{encoder}.1.layer.{index}" for index in range(3)}
    for stage, depth in ((3, 2), (4, 4), (5, 3)):
        theirs = f"{encoder}.{stage - 1}"
        blocks[f"stage{stage}_mv0"] = f"{theirs}.downsampling_layer"
        names |= {f"stage{stage}_vit_{ours}": f"{theirs}.{name}" for ours, name in LOCAL.items()}
        names[f"stage{stage}_vit_norm"] = f"{theirs}.layernorm"
        for index in range(depth):
            names |= {
                f"stage{stage}_vit_transformer{index}_{ours}": f"{theirs}.transformer.layer.{index}.{name}"
                for ours, name in TRANSFORMER.items()
            }
            names[f"stage{stage}_vit_transformer{index}_attention_qkv"] = (
                f"{theirs}.transformer.layer.{index}.attention.attention"
            )
    return names | {f"{b}_{o}": f"{t}.{n}" for b, t in blocks.items() for o, n in MV2.items()}


def copy_weights(theirs: transformers.MobileViTForImageClassification, ours: keras.Model) -> None:
    """Gives our network the reference's weights."""
    state = {name: value.numpy() for name, value in theirs.state_dict().items()}
    names = names_of_reference()
    for layer in ours.layers:
        if layer.weights:
            layer.set_weights(weights_for(layer.name, names, state))


def weights_for(layer_name: str, names: dict[str, str], state: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The reference's weights in the order and layout of our layer."""
    if layer_name.endswith("_conv") or layer_name.endswith("_project_in"):
        kernel = state[f"{names[layer_name.removesuffix('_conv')]}.convolution.weight"]
        return [kernel.transpose(2, 3, 0, 1) if "depthwise" in layer_name else kernel.transpose(2, 3, 1, 0)]
    if layer_name.endswith("_bn"):
        prefix = f"{names[layer_name.removesuffix('_bn')]}.normalization"
        return [state[f"{prefix}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")]
    prefix = names[layer_name]
    if layer_name.endswith("_qkv"):
        parts = [f"{prefix}.{part}" for part in ("query", "key", "value")]
        return [
            np.concatenate([state[f"{part}.weight"] for part in parts]).T,
            np.concatenate([state[f"{part}.bias"] for part in parts]),
        ]
    weight = state[f"{prefix}.weight"]
    return [weight.T if weight.ndim == 2 else weight, state[f"{prefix}.bias"]]
