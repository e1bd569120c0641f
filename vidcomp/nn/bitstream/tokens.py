"""From the arrays of a bitstream to pictures of one size, and a transformer over the tokens of all groups.

Features of groups of pictures are (N, D, T, grid, M · grid): T groups, and the grids of M modalities side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOTION_SIZE = (24, 32)
"""Height and width that fields of motion are brought to."""

BRIGHTNESS_SIZE = (72, 96)
"""Height and width that residuals and differences are brought to."""

_CELL = 8
# Displacements are measured in twelfths of the picture's shorter side: 20 pixels of 240.
_UNITS = 12


def motion_pictures(motion: Tensor, mask: Tensor) -> Tensor:
    """Motion (G, P, h, w, 2), in pixels on cells of 8, and mask (G, P, h, w) as pictures (G, 3, P, 24, 32).

    Displacements are divided by a twelfth of the picture's shorter side, and clipped to ±1.
    """
    unit = min(mask.shape[2:]) * _CELL / _UNITS
    known = mask.unsqueeze(-1).to(torch.float32)
    pictures = torch.cat([(motion.to(torch.float32) / unit).clamp(-1, 1), known], dim=-1)
    return _resized(pictures.permute(0, 1, 4, 2, 3), MOTION_SIZE)


def residual_pictures(residual: Tensor) -> Tensor:
    """Residuals (G, P, h, w) of brightness, up to ±255, as pictures (G, 1, P, 72, 96): divided by 127.5."""
    return _resized(residual.unsqueeze(2).to(torch.float32) / 127.5, BRIGHTNESS_SIZE)


def difference_pictures(difference: Tensor) -> Tensor:
    """Differences (G, J, h, w) of brightness, up to ±255, as pictures (G, 1, J, 72, 96): divided by 128."""
    return _resized(difference.unsqueeze(2).to(torch.float32) / 128, BRIGHTNESS_SIZE)


def _resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    groups, steps = pictures.shape[:2]
    resized = F.adaptive_avg_pool2d(pictures.flatten(0, 1), size)
    unfolded: Tensor = resized.unflatten(0, (groups, steps)).transpose(1, 2)
    return unfolded


def time_embedding(times: int, channels: int, like: Tensor) -> Tensor:
    """Sines and cosines (T, D) of the numbers of the groups, for any number of them (Vaswani et al., 2017)."""
    numbers = torch.arange(times, device=like.device, dtype=torch.float32)
    rates = torch.exp(torch.arange(0, channels, 2, device=like.device) * (-math.log(1000.0) / channels))
    angles = numbers[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :channels].to(like.dtype)


class Layer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(channels)
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.joined = nn.Linear(channels, channels)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, 2 * channels),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * channels, channels),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (N, L, D) to tokens."""
        query, key, value = self._parts(tokens)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.dropout(self.joined(attended))
        tokens = tokens + self.dropout(self.feed_forward(tokens))
        return tokens

    def weights(self, tokens: Tensor) -> Tensor:
        """What each token attends to, the mean over the heads: (N, L, L)."""
        query, key, _ = self._parts(tokens)
        scores = query.float() @ key.float().transpose(2, 3) / math.sqrt(query.shape[-1])
        return scores.softmax(dim=-1).mean(dim=1)

    def _parts(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Query, key and value (N, heads, L, D / heads)."""
        parts = self.query_key_value(self.attention_norm(tokens)).unflatten(-1, (3, self.heads, -1))
        return tuple(part.transpose(1, 2) for part in parts.unbind(dim=2))


class JointTransformer(nn.Module):
    """A transformer over the tokens of all modalities, places and groups of a video.

    Groups beyond ``longest`` are in windows of their own, of equal length to one group, so that an hour takes no more
    memory than a window. Each of the modalities ``alone``, by number, passes it once more by itself, the tokens of the
    others zero. Grids beyond those of the modalities go by.
    """

    def __init__(
        self,
        channels: int,
        layers: int,
        heads: int,
        grid: int,
        modalities: int,
        dropout: float,
        longest: int = 64,
        alone: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.longest = longest
        self.alone = tuple(alone)
        self._columns = modalities * grid
        self._grid = grid
        self.modality = nn.Parameter(0.02 * torch.randn(channels, 1, 1, modalities, 1))
        self.place = nn.Parameter(0.02 * torch.randn(channels, 1, grid, 1, grid))
        self.time_gain = nn.Parameter(torch.tensor(0.1))
        self.layers = nn.ModuleList(Layer(channels, heads, dropout) for _ in range(layers))

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, D, T, grid, M · grid + W) to (N, D, T, grid, (1 + A) · M · grid + W), A of M alone."""
        joint, passing = features.tensor_split([self._columns], dim=4)
        numbers = torch.arange(self._columns, device=features.device) // self._grid
        versions = torch.cat([joint, *(joint * (numbers == modality) for modality in self.alone)])
        passed = torch.cat([self._window(part) for part in self._windows(versions)], dim=2)
        return torch.cat([*passed.split(len(joint)), passing], dim=4)

    @torch.no_grad()
    def rollout(self, features: Tensor) -> Tensor:
        """The weights (N, T, T) of groups over groups: attention rolled out over the layers (Abnar and Zuidema, 2020).

        A layer's map is averaged over the tokens of a group that attend and summed over those that are attended to; it
        counts for half, and the identity for the other half.
        """
        maps = [self._rolled_out(part) for part in self._windows(features[..., : self._columns])]
        return torch.stack([torch.block_diag(*(window[video] for window in maps)) for video in range(len(features))])

    def _windows(self, features: Tensor) -> tuple[Tensor, ...]:
        windows = -(-features.shape[2] // self.longest)
        return features.tensor_split(windows, dim=2)

    def _window(self, features: Tensor) -> Tensor:
        tokens = self._tokens(features)
        for layer in self.layers:
            tokens = layer(tokens)
        unfolded: Tensor = tokens.transpose(1, 2).unflatten(2, features.shape[2:])
        return unfolded

    def _rolled_out(self, features: Tensor) -> Tensor:
        tokens, times = self._tokens(features), features.shape[2]
        rolled = torch.eye(times, device=tokens.device).expand(len(tokens), -1, -1)
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            if number:
                tokens = self.layers[number - 1](tokens)
            weights = layer.weights(tokens).unflatten(1, (times, -1)).unflatten(3, (times, -1)).mean(dim=2).sum(dim=3)
            rolled = (rolled + weights @ rolled) / 2
        return rolled

    def _tokens(self, features: Tensor) -> Tensor:
        """Tokens (N, L, D), group after group, with what tells modality, place and time apart."""
        channels, times = features.shape[1:3]
        embedding = (self.modality + self.place).flatten(3)
        embedding = embedding + self.time_gain * time_embedding(times, channels, features).T[:, :, None, None]
        return (features + embedding).flatten(2).transpose(1, 2)


class Mixer(nn.Module):
    """The multi-modal mixer, an MLP-Mixer (Tolstikhin et al., 2021) over the modalities and places of one group.

    Layers mix the fixed tokens of a group, and then the channels of each token.

    Each of the first ``versions`` of ``tokens`` is mixed by itself; what lies beyond goes by.
    """

    def __init__(self, channels: int, tokens: int, dropout: float, versions: int = 1) -> None:
        super().__init__()
        self._tokens, self._versions = tokens, versions
        self.token_norm = nn.LayerNorm(channels)
        self.across_tokens = nn.Sequential(nn.Linear(tokens, 2 * tokens), nn.GELU(), nn.Linear(2 * tokens, tokens))
        self.across_channels = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, D, T, grid, versions · M · grid + W) to features, each group by itself."""
        columns = self._tokens // features.shape[3]
        *versions, passing = features.tensor_split([columns * (one + 1) for one in range(self._versions)], dim=4)
        return torch.cat([*map(self._mixed, versions), passing], dim=4)

    def _mixed(self, features: Tensor) -> Tensor:
        tokens = features.flatten(3).permute(0, 2, 3, 1)  # (N, T, L, D)
        mixed = self.across_tokens(self.token_norm(tokens).transpose(2, 3)).transpose(2, 3)
        tokens = tokens + self.dropout(mixed)
        tokens = tokens + self.dropout(self.across_channels(tokens))
        unfolded: Tensor = tokens.permute(0, 3, 1, 2).unflatten(3, features.shape[3:])
        return unfolded
