"""The building blocks of MobileViT v1 as its authors released them.

Shapes in the comments: B batch, H W height and width of the map, C channels, d transformer width,
N tokens of one pixel group (H/2 * W/2), h attention heads, k head width (d/h).

Only layers and operations of Keras itself are used, so a saved `.keras` file loads anywhere that Keras
does, without this package and without `custom_objects`. Tokens stay in a matrix (tokens, d) throughout
the transformer: a Dense layer is then one plain matrix product, in training and in the exported file.
"""

from keras import KerasTensor, layers, ops

BATCH_NORM = {"epsilon": 1e-5, "momentum": 0.9}  # PyTorch's momentum 0.1 is Keras's 0.9
LAYER_NORM_EPSILON = 1e-5
PATCH = 2


def conv_layer(
    x: KerasTensor, filters: int, kernel_size: int, *, name: str, stride: int = 1, activation: bool = True
) -> KerasTensor:
    """Convolution without bias, BatchNorm, SiLU; zero padding (k-1)//2 on every side, as PyTorch pads.

    Keras's own "same" pads an even map by (0, 1) when the stride is 2, which shifts the network by half
    a pixel; hence the explicit padding.

    Args:
        x: feature map (B, H, W, C).
        filters: output channels.
        kernel_size: 1 or 3.
        name: prefix of the layer names.
        stride: 1 or 2.
        activation: whether SiLU follows the normalization.

    Returns:
        Feature map (B, H/stride, W/stride, filters).
    """
    if stride > 1:
        x = layers.ZeroPadding2D((kernel_size - 1) // 2, name=f"{name}_pad")(x)
    padding = "same" if stride == 1 else "valid"
    x = layers.Conv2D(filters, kernel_size, stride, padding, use_bias=False, name=f"{name}_conv")(x)
    return _normalize(x, name, activation)


def depthwise_conv_layer(x: KerasTensor, *, name: str, stride: int) -> KerasTensor:
    """Depthwise 3x3 convolution without bias, BatchNorm, SiLU; padded as `conv_layer`."""
    if stride > 1:
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    padding = "same" if stride == 1 else "valid"
    x = layers.DepthwiseConv2D(3, stride, padding, use_bias=False, name=f"{name}_conv")(x)
    return _normalize(x, name, activation=True)


def _normalize(x: KerasTensor, name: str, activation: bool) -> KerasTensor:
    x = layers.BatchNormalization(**BATCH_NORM, name=f"{name}_bn")(x)
    return layers.Activation("silu", name=f"{name}_silu")(x) if activation else x


def inverted_residual(
    x: KerasTensor, filters: int, *, expansion: int, name: str, stride: int = 1
) -> KerasTensor:
    """MobileNetV2's inverted residual ("MV2"; the paper, section 3.2 and figure 1b).

    Args:
        x: feature map (B, H, W, C).
        filters: output channels.
        expansion: the hidden width is C * expansion.
        name: prefix of the layer names.
        stride: 1 or 2; the input is added back only with stride 1 and filters == C.

    Returns:
        Feature map (B, H/stride, W/stride, filters).
    """
    y = conv_layer(x, x.shape[-1] * expansion, 1, name=f"{name}_expand")
    y = depthwise_conv_layer(y, name=f"{name}_depthwise", stride=stride)
    y = conv_layer(y, filters, 1, name=f"{name}_reduce", activation=False)
    if stride == 1 and x.shape[-1] == filters:
        return layers.Add(name=f"{name}_add")([x, y])
    return y


def unfold(x: KerasTensor) -> KerasTensor:
    """Splits a map into four groups of tokens: pixel (i, j) of every 2x2 patch goes to group 2*i + j.

    Rank 4 at the most, which is what mobile runtimes and delegates take. Height and width must be
    known and even: then the -1 on the first axis can only stand for the batch.

    Args:
        x: feature map (B, H, W, d), H and W even.

    Returns:
        Tokens (B*4, N, d), N = H/2 * W/2 in row order; the groups of one image stand together.
    """
    height, width, dim = x.shape[1:]
    x = ops.reshape(x, (-1, height // PATCH, PATCH, width * dim))  # B, H/2, 2, W*d
    x = ops.transpose(x, (0, 2, 1, 3))  # B, 2, H/2, W*d
    x = ops.reshape(x, (-1, height // PATCH * width // PATCH, PATCH, dim))  # B*2, N, 2, d
    x = ops.transpose(x, (0, 2, 1, 3))  # B*2, 2, N, d
    return ops.reshape(x, (-1, height // PATCH * width // PATCH, dim))  # B*4, N, d


def fold(tokens: KerasTensor, height: int, width: int) -> KerasTensor:
    """The exact inverse of `unfold`.

    Args:
        tokens: (B*4, N, d).
        height: H of the map, even.
        width: W of the map, even.

    Returns:
        Feature map (B, H, W, d).
    """
    patches, dim = tokens.shape[1:]
    x = ops.reshape(tokens, (-1, PATCH, patches, dim))  # B*2, 2, N, d
    x = ops.transpose(x, (0, 2, 1, 3))  # B*2, N, 2, d
    x = ops.reshape(x, (-1, PATCH, height // PATCH, width * dim))  # B, 2, H/2, W*d
    x = ops.transpose(x, (0, 2, 1, 3))  # B, H/2, 2, W*d
    return ops.reshape(x, (-1, height, width, dim))


def self_attention(x: KerasTensor, *, patches: int, heads: int, name: str) -> KerasTensor:
    """Multi-head self-attention inside each pixel group, with one fused projection to q, k and v.

    Args:
        x: tokens (B*4*N, d).
        patches: N, how many rows belong to one group.
        heads: number of heads; d must be divisible by it.
        name: prefix of the layer names.

    Returns:
        Tokens (B*4*N, d).
    """
    dim = x.shape[-1]
    head_dim = dim // heads
    qkv = layers.Dense(3 * dim, name=f"{name}_qkv")(x)
    qkv = ops.reshape(qkv, (-1, patches, 3 * heads, head_dim))  # B*4, N, 3h, k
    qkv = ops.transpose(qkv, (0, 2, 1, 3))  # B*4, 3h, N, k
    query, key, value = ops.split(qkv, 3, axis=1)  # each B*4, h, N, k
    scores = ops.matmul(query * head_dim**-0.5, ops.transpose(key, (0, 1, 3, 2)))  # B*4, h, N, N
    x = ops.matmul(ops.softmax(scores), value)  # B*4, h, N, k
    x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, dim))  # B*4*N, d
    return layers.Dense(dim, name=f"{name}_out")(x)


def transformer_layer(x: KerasTensor, *, patches: int, heads: int, dropout: float, name: str) -> KerasTensor:
    """One pre-norm transformer layer: x + attention(norm(x)), then x + FFN(norm(x)), FFN width 2d.

    Args:
        x: tokens (B*4*N, d).
        patches: N.
        heads: attention heads.
        dropout: rate after the attention's output and after the FFN.
        name: prefix of the layer names.

    Returns:
        Tokens (B*4*N, d).
    """
    dim = x.shape[-1]
    y = layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, name=f"{name}_attention_norm")(x)
    y = self_attention(y, patches=patches, heads=heads, name=f"{name}_attention")
    x = layers.Add(name=f"{name}_attention_add")(
        [x, layers.Dropout(dropout, name=f"{name}_attention_drop")(y)]
    )
    y = layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, name=f"{name}_ffn_norm")(x)
    y = layers.Dense(2 * dim, activation="silu", name=f"{name}_ffn_in")(y)
    y = layers.Dense(dim, name=f"{name}_ffn_out")(y)
    return layers.Add(name=f"{name}_ffn_add")([x, layers.Dropout(dropout, name=f"{name}_ffn_drop")(y)])


def mobilevit_block(
    x: KerasTensor, *, dim: int, depth: int, heads: int, dropout: float, name: str
) -> KerasTensor:
    """The MobileViT block (the paper, section 3.1): convolutions, a transformer over unfolded pixels, fusion.

    Args:
        x: feature map (B, H, W, C), H and W even.
        dim: d.
        depth: number of transformer layers.
        heads: attention heads.
        dropout: rate inside the transformer layers.
        name: prefix of the layer names.

    Returns:
        Feature map (B, H, W, C).
    """
    height, width, channels = x.shape[1:]
    patches = height // PATCH * width // PATCH
    y = conv_layer(x, channels, 3, name=f"{name}_local")
    y = layers.Conv2D(dim, 1, use_bias=False, name=f"{name}_project_in")(y)
    y = ops.reshape(unfold(y), (-1, dim))  # B*4*N, d
    for index in range(depth):
        y = transformer_layer(
            y, patches=patches, heads=heads, dropout=dropout, name=f"{name}_transformer{index}"
        )
    y = layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, name=f"{name}_norm")(y)
    y = fold(ops.reshape(y, (-1, patches, dim)), height, width)
    y = conv_layer(y, channels, 1, name=f"{name}_project_out")
    y = layers.Concatenate(name=f"{name}_concat")([x, y])
    return conv_layer(y, channels, 3, name=f"{name}_fusion")
