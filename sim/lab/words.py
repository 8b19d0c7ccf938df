"""The verdict in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from metapulse.sim.lab.comparison import Pair, Ranking, Score
from metapulse.sim.scores import gain, scenario_title, shots_name

#: With fewer nothing is called different: what three people agree on says little about a fourth.
MIN_PEOPLE, MIN_SEEDS = 5, 3
#: Seeds that a comparison should have.
ENOUGH_SEEDS = 5


def verdict_words(
    reference: str,
    methods: Sequence[str],
    seeds: Sequence[int],
    scores: Sequence[Score],
    pairs: Sequence[Pair],
    ranking: Ranking | None,
    baselines: Sequence[str] = (),
) -> tuple[str, ...]:
    """Sentences, the most important first: verdicts, ranks, what they rest on, what is missing.

    Args:
        reference: what the others are held against.
        methods: in the order in which they are shown.
        seeds: of training that were asked for.
        scores, pairs, ranking: of the comparison.
        baselines: those of ``methods`` that are told after the others, as the family of tests that they are.
    """
    rivals = [pair for pair in pairs if pair.method not in baselines]
    metrics = {score.dataset: score.metric for score in scores}
    return (
        *pair_words(reference, methods, pairs, metrics, baselines),
        *_ranks(ranking),
        *_sizes(rivals or pairs, metrics),
        *_gaps(methods, seeds, scores),
    )


def pair_words(
    reference: str,
    methods: Sequence[str],
    pairs: Sequence[Pair],
    metrics: dict[str, str],
    baselines: Sequence[str] = (),
) -> tuple[str, ...]:
    """A sentence for each method that is shown to differ, question by question, and one for all others.

    Args:
        reference, methods, pairs, baselines: as for ``verdict_words``.
        metrics: data set → what is measured.
    """
    rivals = [pair for pair in pairs if pair.method not in baselines]
    apart = _verdicts(reference, baselines, pairs, metrics, "without a difference")
    return (*_verdicts(reference, methods, rivals, metrics), *(f"Baseline {told}" for told in apart))


def brief_words(
    reference: str, methods: Sequence[str], pairs: Sequence[Pair], baselines: Sequence[str] = ()
) -> tuple[str, ...]:
    """The same in a few sentences: who is better, who is worse, who is neither, each by the number of questions.

    Args:
        reference, methods, pairs, baselines: as for ``verdict_words``.
    """
    rivals = [method for method in methods if method not in baselines]
    told = [*_brief(reference, rivals, pairs, "")]
    return (*told, *_brief(reference, baselines, pairs, "Baselines: "))


def _brief(reference: str, methods: Sequence[str], pairs: Sequence[Pair], before: str) -> Iterator[str]:
    verdicts = {m: [pair.verdict for pair in pairs if pair.method == m] for m in methods}
    verdicts = {method: told for method, told in verdicts.items() if told}
    better, worse = ({m for m, told in verdicts.items() if word in told} for word in ("better", "worse"))
    groups = (
        ("better than", better - worse, ("better",)),
        ("in part better and in part worse than", better & worse, ("better", "worse")),
        ("worse than", worse - better, ("worse",)),
    )
    for title, members, words in groups:
        if members:
            named = [f"{m} {_counts(told, words)}" for m, told in verdicts.items() if m in members]
            yield _sentence(f"{before}{title} {reference} beyond chance, on questions: {', '.join(named)}.")
    if none := [m for m in verdicts if m not in better | worse]:
        yield _sentence(f"{before}no difference from {reference} shown: {', '.join(none)}.")


def _counts(told: Sequence[str], words: Sequence[str]) -> str:
    return f"{' and '.join(str(told.count(word)) for word in words)} of {len(told)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _verdicts(
    reference: str,
    methods: Sequence[str],
    pairs: Sequence[Pair],
    metrics: dict[str, str],
    none: str = "No difference",
) -> Iterator[str]:
    unshown = []
    for method in methods:
        mine = [pair for pair in pairs if pair.method == method]
        shown = [_where(word, mine, metrics) for word in ("better", "worse") if any(p.verdict == word for p in mine)]
        rest = sum(pair.verdict == "no difference shown" for pair in mine)
        if shown:
            others = f"; no difference shown on {rest} of {len(mine)} questions" if rest else ""
            yield f"{method} against {reference}: {'; '.join(shown)}{others}."
        elif mine:
            unshown.append(method)
    if unshown:
        yield f"{none} from {reference} shown: {', '.join(unshown)}."


def _where(word: str, pairs: Iterable[Pair], metrics: dict[str, str]) -> str:
    """For example: better on uci_har (new people at 1 and 3 shots, by 0.021 to 0.034)."""
    places: dict[str, dict[str, list[Pair]]] = {}
    for pair in pairs:
        if pair.verdict == word:
            places.setdefault(pair.dataset, {}).setdefault(pair.scenario, []).append(pair)
    return f"{word} on " + ", ".join(
        f"{dataset} ({'; '.join(_scenario(name, found, metrics[dataset]) for name, found in scenarios.items())})"
        for dataset, scenarios in places.items()
    )


def _scenario(scenario: str, pairs: Sequence[Pair], metric: str) -> str:
    numbers = [pair.shots for pair in pairs]
    shots = (
        f"{_list([str(n) for n in numbers])} shots"
        if len(numbers) > 1 and all(numbers)
        else _list(list(map(shots_name, numbers)))
    )
    sizes = list(
        dict.fromkeys(gain(x, metric).removeprefix("−") for x in sorted((p.difference.value for p in pairs), key=abs))
    )
    by = sizes[0] if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return f"{scenario_title(scenario).lower()} at {shots}, by {by}"


def _ranks(ranking: Ranking | None) -> Iterator[str]:
    if ranking is None or ranking.cd is None or ranking.friedman_p is None:
        return
    first = f"Over {ranking.blocks} data sets {ranking.methods[0]} has the best mean rank, {ranking.ranks[0]:.1f}"
    if ranking.friedman_p > 0.05:
        yield f"{first}, but the ranks could be chance (Friedman, p = {ranking.friedman_p:.2g})."
        return
    behind = [m for m, r in zip(ranking.methods, ranking.ranks, strict=True) if r - ranking.ranks[0] >= ranking.cd]
    ahead = f"ahead of {_list(behind)}" if behind else "ahead of none in particular"
    facts = f"critical difference {ranking.cd:.1f} ranks, Friedman p = {ranking.friedman_p:.2g}"
    yield f"{first}, and is {ahead} beyond chance ({facts})."


def _sizes(pairs: Sequence[Pair], metrics: dict[str, str]) -> Iterator[str]:
    for dataset, metric in metrics.items():
        mine = [pair for pair in pairs if pair.dataset == dataset]
        if not mine:
            continue
        people, seeds = (_range([getattr(p, key) for p in mine]) for key in ("users", "seeds"))
        rests = f"{dataset} rests on {people} test people and {seeds} seeds"
        if max(p.users for p in mine) < MIN_PEOPLE or max(p.seeds for p in mine) < MIN_SEEDS:
            yield f"{rests}: too few to show anything (at least {MIN_PEOPLE} people and {MIN_SEEDS} seeds)."
        else:
            least = gain(median(p.detectable for p in mine), metric)
            yield f"{rests}; a true difference in {metric} of {least} (median) is found with probability 0.8."


def _gaps(methods: Sequence[str], seeds: Sequence[int], scores: Sequence[Score]) -> Iterator[str]:
    """What is missing: few seeds, failed runs, clients without an answer, methods that answered nothing."""
    if len(seeds) < ENOUGH_SEEDS:
        yield f"{len(seeds)} seeds are fewer than the {ENOUGH_SEEDS} that a comparison should have."
    for dataset in dict.fromkeys(score.dataset for score in scores):
        mine = [score for score in scores if score.dataset == dataset]
        absent = [m for m in methods if m not in {score.method for score in mine}]
        if absent:
            yield f"{dataset}: nothing from {_list(absent)}."
        for method in methods:
            own = [score for score in mine if score.method == method]
            if any(score.seeds < len(seeds) for score in own):
                yield f"{dataset}: {method} has {min(score.seeds for score in own)} of {len(seeds)} seeds."
            if any(score.clients < _asked(score, mine) for score in own):
                yield f"{dataset}: {method} lacks clients that others have, and is compared on the rest."
        if all(score.best is None for score in mine):
            yield f"{dataset}: no client was asked for validation; every method is judged at its largest step."


def _asked(score: Score, scores: Iterable[Score]) -> int:
    return max(s.clients for s in scores if (s.scenario, s.shots) == (score.scenario, score.shots))


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
