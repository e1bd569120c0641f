"""The multi-modal mixer: an MLP-Mixer (Tolstikhin et al., 2021) over the modalities and places of one group."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Mixer(nn.Module):
    """Layers that mix the fixed tokens of a group, and then the channels of each token.

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
