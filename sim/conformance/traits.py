"""Properties of a learner by design, to which some laws do not apply."""

from collections.abc import Mapping

#: What a learner can say of itself to be excused from a law that cannot hold for its kind.
TRAITS: Mapping[str, str] = {
    "at_once": "takes its support in at once: it has no zeroth step, and no start to stay at",
    "untrained": "its first answers need not fit the support any better once it has seen it: only training makes them",
    "still": "its θ never moves",
    "choosing": "looks at the samples to choose where to begin",
    "own_weight": "its weight is no number of samples",
    "solved": "its gradient is that of a solved inner problem, however few steps were taken",
    "moments": "adapts with a memory of its steps, which begins anew on every path",
    "sequential": "from the point that it reached it goes on with what it knows: the same samples again count again",
    "statistics": "its update is what was counted on the device and no gradient: a small step of it need not help",
    "particular": "refuses models or tasks that it is not for, in one line",
}
