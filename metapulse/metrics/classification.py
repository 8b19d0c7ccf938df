"""Metrics of classifiers over a stack of clients: macro-F1, area under the ROC curve, calibration error."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metapulse.episodes import PerClient, PerSample
from metapulse.metrics.answers import Answers

BINS = 15  # of the calibration error, as Guo et al. have it


def macro_f1(answers: Answers) -> PerClient:
    """Mean of F1_k = 2 TP_k / (n_k + m_k) over the classes that occur among a client's n_k labels or m_k answers.

    A class that is answered where it never was right has F1 = 0, as in scikit-learn's ``f1_score(average="macro")``.

    Source: Opitz and Burst 2019, arXiv:1911.03347, "averaged F1".
    """
    right = answers.mask * (answers.guesses == answers.labels)
    labelled, answered = _per_class(answers, answers.labels), _per_class(answers, answers.guesses)
    both = labelled + answered
    score = 2.0 * _per_class(answers, answers.labels, right) / both.clamp(min=1.0)
    return _mean_over(score, both > 0)


def auroc(answers: Answers) -> PerClient:
    """Area under the ROC curve of each class against the rest, mean over the classes present.

        A_k = mean over pairs (i of class k, j of another) of 1[p_ik > p_jk] + ½ 1[p_ik = p_jk]

    p are the probabilities over the classes that the client may answer with.

    Returns:
        NaN for a client whose samples are all of one class: there is no pair.

    Source: Hanley and McNeil 1982, "The meaning and use of the area under a receiver operating characteristic (ROC)
    curve", equation 1; over classes as scikit-learn's ``roc_auc_score(multi_class="ovr", average="macro")``.
    """
    classes, real = answers.task.outputs, answers.mask.unsqueeze(1) > 0
    hot = torch.nn.functional.one_hot(answers.labels, classes).transpose(1, 2) > 0
    mine, others = hot & real, ~hot & real  # (clients, classes, samples)
    p = answers.probabilities.transpose(1, 2).contiguous()
    below = p.masked_fill(~others, torch.inf).sort(2).values
    rank = (torch.searchsorted(below, p) + torch.searchsorted(below, p, right=True)).to(p) / 2.0
    count, rest = mine.sum(2).to(p), others.sum(2).to(p)
    area = (rank / rest.clamp(min=1.0).unsqueeze(2) * mine).sum(2) / count.clamp(min=1.0)
    present = (count > 0) & (rest > 0)
    return _mean_over(area, present).masked_fill(~present.any(1), torch.nan)


def calibration_error(answers: Answers) -> PerClient:
    """Expected calibration error, Σ_b (n_b / n) |accuracy_b − confidence_b| over 15 equal bins of confidence.

    Confidence is the largest probability among the classes that the client may answer with; bin b holds those in
    ((b − 1)/15, b/15]. Of few samples the error is too large rather than too small.

    Source: Guo, Pleiss, Sun and Weinberger 2017, arXiv:1706.04599, equation 3.
    """
    confidence = answers.probabilities.amax(2)
    gap = (answers.guesses == answers.labels).to(confidence) - confidence
    place = ((confidence * BINS).ceil().nan_to_num().long() - 1).clamp(0, BINS - 1)
    bins = gap.new_zeros(len(gap), BINS).scatter_add_(1, place, gap * answers.mask)
    return bins.abs().sum(1) / answers.mask.sum(1).clamp(min=1.0)


def _per_class(answers: Answers, of: Tensor, counted: PerSample | None = None) -> Float[Tensor, "clients classes"]:
    """How many of the counted samples (None: of the real ones) have each class in ``of``."""
    weight = answers.mask if counted is None else counted
    return weight.new_zeros(len(weight), answers.task.outputs).scatter_add_(1, of, weight)


def _mean_over(values: Float[Tensor, "clients classes"], there: Bool[Tensor, "clients classes"]) -> PerClient:
    return (values * there).sum(1) / there.sum(1).clamp(min=1)
