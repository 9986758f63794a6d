"""Networks over tokens: mixer, vision transformer, text encoder."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import CLASSES, Case, images, labels, tokens


class MixerBlock(nn.Module):
    """Tolstikhin et al. 2021: an MLP across the tokens, then one across the channels, of ``[N, tokens, width]``."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.token_mixing = nn.Sequential(nn.Linear(count, 8), nn.GELU(), nn.Linear(8, count))
        self.norm2 = nn.LayerNorm(width)
        self.channel_mixing = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.token_mixing(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.channel_mixing(self.norm2(x))
        return x


class MLPMixer(nn.Module):
    """Patches of 4x4 pixels, two blocks, the mean over the tokens."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, kernel_size=4, stride=4)
        self.blocks = nn.Sequential(MixerBlock(4, width), MixerBlock(4, width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = self.norm(self.blocks(x)).mean(dim=1)
        logits: Tensor = self.head(x)
        return logits


class Attention(nn.Module):
    """Self-attention of ``heads`` heads on ``[N, T, width]``, with one linear layer for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        qkv = self.qkv(x).reshape(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = (q @ k.transpose(-2, -1)) * self.scale
        weights = weights.softmax(dim=-1)
        x = (weights @ v).transpose(1, 2).reshape(n, t, width)
        mixed: Tensor = self.proj(x)
        return mixed


class FusedAttention(Attention):
    """The same with ``F.scaled_dot_product_attention``."""

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(q, k, v)
        mixed: Tensor = self.proj(x.transpose(1, 2).reshape(n, t, width))
        return mixed


class EncoderBlock(nn.Module):
    """Pre-norm attention and MLP, each with its residual add."""

    def __init__(self, width: int, attention: nn.Module) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = attention
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x


class ViT(nn.Module):
    """Dosovitskiy et al. 2021: patches, class token, position embedding, encoder, head on the class token."""

    def __init__(self, attention: type[Attention] = Attention, width: int = 8) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, kernel_size=4, stride=4)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, 5, width) * 0.02)
        self.blocks = nn.ModuleList(EncoderBlock(width, attention(width, 2)) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x)[:, 0])
        return logits


class TextEncoder(nn.Module):
    """``nn.TransformerEncoderLayer`` on embedded tokens, once after and once before the norm; dropout is off."""

    def __init__(self, vocabulary: int = 20, length: int = 6, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(length, width)
        self.layer1 = nn.TransformerEncoderLayer(width, 2, 16, dropout=0.0, batch_first=True)
        self.layer2 = nn.TransformerEncoderLayer(width, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        position = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.embedding(tokens) + self.position(position)
        x = self.layer2(self.layer1(x))
        logits: Tensor = self.head(x.mean(1))
        return logits


ATTENTION = (
    Case("mlp_mixer", MLPMixer, images(), labels),
    Case("vit", ViT, images(), labels),
    Case("vit_fused", lambda: ViT(FusedAttention), images(), labels),
    Case("text_encoder", TextEncoder, tokens(20, 6), labels),
)
