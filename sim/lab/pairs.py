"""Methods against the reference, pair by pair: differences, the family that each is tested in, and verdicts.

Two families: competitors, and baselines (``metapulse.methods.method.Method.baseline``). That a method beats the
majority label is no discovery that competitors have to pay for by a correction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from metapulse.metrics.table import larger_is_better
from metapulse.sim.lab.comparison import Pair, Verdict
from metapulse.sim.lab.panel import Panel, paired
from metapulse.sim.lab.statistics.bootstrap import grand_mean, improvement
from metapulse.sim.lab.statistics.crossed import Values, crossed_p_value, detectable
from metapulse.sim.lab.statistics.families import grouped_corrections
from metapulse.sim.lab.words import MIN_PEOPLE, MIN_SEEDS

ALPHA = 0.05
MOST = 100.0  # times an error, or a hundredth of it: beyond that a ratio says how near one of them is to 0

#: (data set, scenario, shots)
Question = tuple[str, str, int]
Key = tuple[Question, str]


def differences(
    keys: Sequence[Key], panels: Mapping[Key, Panel], metrics: Mapping[str, str], reference: str
) -> dict[Key, Values]:
    """By how much every method is better than the reference, per seed and person.

    Args:
        keys: questions and methods, in order.
        panels: what is known of each.
        metrics: data set → what is measured.
        reference: which the others are held against.
    """
    found: dict[Key, Values] = {}
    for question, method in keys:
        if method != reference and (question, reference) in panels:
            a, b = paired(panels[question, method], panels[question, reference])
            if a.seeds and a.clients:
                errors = not larger_is_better(metrics[question[0]])
                found[question, method] = log_ratios(b.people, a.people) if errors else a.people - b.people
    return found


def families(found: Mapping[Key, Values], baselines: Collection[str]) -> Iterator[dict[Key, Values]]:
    """Differences of the methods that are tested together: first competitors, then baselines; none is empty."""
    for apart in (False, True):
        mine = {key: values for key, values in found.items() if (key[1] in baselines) == apart}
        if mine:
            yield mine


def levels(family: Mapping[Key, Values]) -> dict[Key, float]:
    """The level at which a difference is found whatever is found elsewhere: 5 % shared by groups, and by their tests.

    A group is a method on a data set, with a test for each question.

    Args:
        family: of methods that are tested together, as from ``families``.
    """
    tests = Counter(map(_group, family))
    return {key: ALPHA / (len(tests) * tests[_group(key)]) for key in family}


def _group(key: Key) -> tuple[str, str]:
    (dataset, _, _), method = key
    return dataset, method


def p_values(
    family: Mapping[Key, Values], pilot: int = 0
) -> tuple[Float64[np.ndarray, " tests"], Float64[np.ndarray, " tests"]]:
    """p of no difference of every test of a family, alone and corrected for all of them.

    Args:
        family: as for ``levels``.
        pilot: as for ``judged_pairs``.
    """
    p = np.array([crossed_p_value(values, pilot) for values in family.values()])
    return p, grouped_corrections(p, [_group(key) for key in family])


def judged_pairs(
    found: Mapping[Key, Values], reference: str, baselines: Collection[str] = (), pilot: int = 0
) -> tuple[Pair, ...]:
    """Every method against the reference on every question, in the order given.

    Args:
        found: differences, as from ``differences``.
        reference: which they are differences from.
        baselines: methods that are a family of their own.
        pilot: first seeds that decided how many there are (``metapulse.sim.lab.statistics.crossed.errors``).
    """
    made = {key: pair for family in families(found, baselines) for key, pair in _family(family, reference, pilot)}
    return tuple(made[key] for key in found)


def _family(family: Mapping[Key, Values], reference: str, pilot: int) -> Iterator[tuple[Key, Pair]]:
    p, corrected = p_values(family, pilot)
    tested = levels(family)
    for (key, values), one, holm in zip(family.items(), p.tolist(), corrected.tolist(), strict=True):
        (dataset, scenario, shots), method = key
        yield (
            key,
            Pair(
                dataset=dataset,
                scenario=scenario,
                shots=shots,
                method=method,
                reference=reference,
                difference=grand_mean(values, pilot=pilot),
                improvement=improvement(values, pilot),
                p=one,
                p_holm=holm,
                verdict=_verdict(values, holm),
                detectable=detectable(values, tested[key], pilot=pilot),
                users=values.shape[1],
                seeds=values.shape[0],
            ),
        )


def _verdict(values: Values, p: float) -> Verdict:
    seeds, people = values.shape
    if p > ALPHA or seeds < MIN_SEEDS or people < MIN_PEOPLE:
        return "no difference shown"
    return "better" if values.mean() > 0 else "worse"


def log_ratios(reference: Values, method: Values) -> Values:
    """log(reference / method) of errors, person by person: halving an error counts the same for each of them.

    On the scale of the errors themselves one person with large ones would own the mean; here one with an error next to
    0 would, so that a ratio beyond ``MOST`` counts as that. Where both are 0 there is no difference.

    Args:
        reference: errors ≥ 0, one per seed and person.
        method: likewise.
    """
    tiny = float(np.finfo(np.float64).tiny)
    ratios = np.log(np.maximum(reference, tiny)) - np.log(np.maximum(method, tiny))
    bounded: Values = np.clip(ratios, -np.log(MOST), np.log(MOST))
    return bounded
