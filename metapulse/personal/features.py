"""What a trained model sees in a window: the run's transform and encoder, both fixed, and a constant for the bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from metapulse.data import Task
from metapulse.errors import ConfigError
from metapulse.methods.base import Learner
from metapulse.models.base import Model
from metapulse.registry import LEARNERS, MODELS, TRANSFORMS
from metapulse.settings import plain
from metapulse.transforms import Transform
from metapulse.trees import Params, stack
from metapulse.windows import evenly

MOST_FITTED = 512  # windows that a transform is fitted on: its means and deviations, which more would hardly move


@dataclass(frozen=True)
class FeatureMap:
    """f(x) = (embedding of the transformed window, 1): ŷ = Kᵀf(x) is the model's own answer, bias included.

    A method may have its head read the window itself, in place of the embedding or beside it. Where there is no linear
    head, the one feature is the answer of the run's own method before it has seen the person; the head then says how
    far the person's outcomes bear it out: y = a · answer + b.

    Args:
        task: before the transform.
        sections: names and settings of the model, the transform and the learner, as a configuration has them.
        params: φ₀ of the learner, without client axis.
        fitted: windows that the transform is fitted on, where it is not the same for everyone; may be empty.
        reads: parts that the head reads, in order: "embedding", "inputs"; or "answer".
    """

    task: Task
    sections: Mapping[str, Mapping[str, Any]]
    params: Params
    fitted: Float32[np.ndarray, "p *features"]
    reads: tuple[str, ...] = ("embedding",)

    def __post_init__(self) -> None:
        if "embedding" in self.reads:
            self.model.head_pair()  # refused here where there is no linear head

    @cached_property
    def transform(self) -> Transform:
        """What windows go through first."""
        made: Transform = TRANSFORMS.make(dict(self.sections["transform"]))
        return made

    @cached_property
    def model(self) -> Model:
        """Encoder and head."""
        made: Model = MODELS.make(dict(self.sections["model"]), task=self.transform.task(self.task))
        return made

    @cached_property
    def learner(self) -> Learner:
        """The run's method, whose answers are read where there is no linear head."""
        made: Learner = LEARNERS.make(dict(self.sections["learner"]))
        return made

    def fitted_on(self, x: Float32[np.ndarray, "n *features"]) -> FeatureMap:
        """The same with its transform fitted on a person's windows, where it is one that is fitted."""
        if self.transform.pointwise or len(self.fitted):
            return self
        return replace(self, fitted=x[evenly(np.arange(len(x)), MOST_FITTED)])

    def inputs(self, x: Float32[np.ndarray, "n *features"]) -> Float[Tensor, "n *inputs"]:
        """Windows as the encoder reads them."""
        pool = self.fitted if len(self.fitted) else x
        return torch.from_numpy(np.ascontiguousarray(self.transform.apply(x, pool, None)))

    def embed(self, inputs: Float[Tensor, "n *inputs"]) -> Float64[Tensor, "n width"]:
        """Features of transformed windows, differentiable in them; in double precision, as sums over a year need it."""
        phi = stack(self.params, 1)
        parts = [inputs.flatten(1)] if "inputs" in self.reads else []
        if "embedding" in self.reads:
            parts.insert(0, self.model.embed(phi, inputs.unsqueeze(0))[0])
        if "answer" in self.reads:
            parts.append(self.learner.predict(self.model, phi, inputs.unsqueeze(0))[0])
        seen = torch.cat(parts, 1).double()
        return torch.cat([seen, seen.new_ones(len(seen), 1)], 1)

    def of(self, x: Float32[np.ndarray, "n *features"]) -> Float64[Tensor, "n width"]:
        """Features of windows as the recipe gives them."""
        with torch.no_grad():
            return self.embed(self.inputs(x))

    @property
    def head(self) -> Float64[Tensor, "width outputs"]:
        """The head that the run has trained, its bias in the last row; of a model that has a linear one."""
        weight, bias = (self.params[name].detach().double() for name in self.model.head_pair())
        return torch.cat([weight.T, bias.unsqueeze(0)])

    def facts(self) -> dict[str, Any]:
        """All but the tensors, for JSON."""
        return {"task": asdict(self.task), "sections": plain(self.sections), "reads": list(self.reads)}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any], params: Params, fitted: np.ndarray) -> FeatureMap:
        """The features that ``facts`` and the tensors describe.

        Raises:
            ConfigError: they describe none.
        """
        try:
            given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in facts["task"].items()}
            task = Task(**given)
            return cls(task, facts["sections"], params, fitted, tuple(facts["reads"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError("features", str(error), "must name task, model and transform") from None
