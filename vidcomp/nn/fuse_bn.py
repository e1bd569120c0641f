"""BatchNorm folded into the convolution before it: the same function at inference, one pass over memory less."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fuse_bn(module: nn.Module) -> int:
    """Fold, in place, every BatchNorm3d that directly follows a Conv3d among the children of one module.

    The BatchNorm is replaced by ``nn.Identity`` and the convolution gains a bias. Only right in evaluation mode, and
    only for modules that run such children one after the other, as every backbone and compressor here does.

    Returns:
        How many were folded.

    Raises:
        RuntimeError: the module is in training mode, where BatchNorm is not a fixed affine map.
    """
    if module.training:
        raise RuntimeError("fuse_bn needs a module in evaluation mode: call .eval() first")
    folded = 0
    for parent in list(module.modules()):
        convolution: nn.Conv3d | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm3d) and convolution is not None:
                assert child.running_mean is not None
                assert child.running_var is not None
                weight, bias = fuse_conv_bn_weights(
                    convolution.weight,
                    convolution.bias,
                    child.running_mean,
                    child.running_var,
                    child.eps,
                    child.weight,
                    child.bias,
                )
                convolution.weight, convolution.bias = weight, bias
                setattr(parent, name, nn.Identity())
                folded += 1
            convolution = child if isinstance(child, nn.Conv3d) else None
    return folded
