"""Construct a user's module reproducibly from a seed, or refuse it with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from metapulse.errors import ConfigError
from metapulse.global_generators import seeded
from metapulse.renamed import new_name

KEY = "model.factory"


def constructed(
    factory: str, make: Callable[[], object], seed: int, options: Mapping[str, Any] = MappingProxyType({})
) -> nn.Module:
    """A module made under a seed of PyTorch's, NumPy's and Python's generators, in evaluation mode.

    Args:
        factory: its dotted reference, for messages.
        make: makes it.
        seed: in [0, 2^63).
        options: that it is made with, for messages.

    Raises:
        ConfigError: it raises, makes no module, or one that cannot serve.
    """
    with seeded(seed):
        try:
            made = make()
        except ConfigError:
            raise
        except (TypeError, ValueError) as error:
            raise ConfigError("model.options", dict(options), f"{factory} refuses them ({_line(error)})") from None
        except (Exception, SystemExit) as error:
            raise ConfigError(KEY, factory, f"raises {type(error).__name__} ({_line(error)})") from None
    if not isinstance(made, nn.Module):
        raise ConfigError(KEY, factory, "must make a torch.nn.Module")
    _check(factory, made)
    return made.eval()


def check_constants(factory: str, made: nn.Module, again: nn.Module, other: nn.Module) -> None:
    """Refuse a module that a seed does not decide, or whose constants are drawn and so could not be had again.

    Frozen parameters and buffers do not travel and are in no checkpoint: every process makes them anew.

    Args:
        factory: dotted reference, for messages.
        made: the module.
        again: made under the same seed.
        other: made under another one.

    Raises:
        ConfigError: names the parameter or the buffer.
    """
    for name, p in made.named_parameters():
        if not torch.equal(p, again.get_parameter(name)):
            raise ConfigError(KEY, factory, f"is not reproducible: {name} differs between two modules of one seed")
    for name, value in frozen_tensors(made):
        if not _same(value, dict(frozen_tensors(other)).get(name)):
            raise ConfigError(
                KEY,
                factory,
                f"{name} is frozen or a buffer, and drawn at random: every device would need the same; draw it from a"
                " generator with a seed of its own, or let it be learned",
            )


def frozen_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Frozen parameters and buffers, by name."""
    yield from ((name, p.detach()) for name, p in module.named_parameters() if not p.requires_grad)
    yield from module.named_buffers()


def aliases(module: nn.Module) -> dict[str, str]:
    """Learned parameters that several modules hold: each further name, and the name under which it is learned.

    A module that is itself held under several names has its parameters replaced once.
    """
    first: dict[int, str] = {}
    owners: dict[int, set[int]] = {}
    found = {}
    for name, p in module.named_parameters(remove_duplicate=False):
        owner = id(module.get_submodule(name.rpartition(".")[0]))
        if p.requires_grad and first.setdefault(id(p), name) != name and owner not in owners[id(p)]:
            found[name] = first[id(p)]
        owners.setdefault(id(p), set()).add(owner)
    return found


def _check(factory: str, made: nn.Module) -> None:
    for name, p in made.named_parameters():
        if isinstance(p, nn.UninitializedParameter):
            raise ConfigError(KEY, factory, f"{name} is lazy, its shape is not known; state the size of the inputs")
        if p.requires_grad and p.dtype != torch.float32:
            raise ConfigError(KEY, factory, f"{name} is {p.dtype}; parameters must be torch.float32")
    if not any(p.requires_grad for p in made.parameters()):
        raise ConfigError(KEY, factory, "has no parameters to learn")
    for name, part in made.named_modules():
        statistics = getattr(part, "running_mean", None) is not None
        if statistics or isinstance(part, nn.modules.batchnorm._BatchNorm):
            raise ConfigError(KEY, factory, f"mixes samples ({name}: {part}); use group norm")


def _same(a: Tensor, b: Tensor | None) -> bool:
    return b is not None and a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)


def _line(error: BaseException) -> str:
    return new_name(error) or " ".join(str(error).split())[:300]
