"""SecAgg+ as the server lives it: sums that are right, drop-outs at every stage, answers that are wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from metapulse.client.secure.device import SECRETS, SECURE
from metapulse.client.secure.quantise import STAGES, levels
from metapulse.client.wire import ARRAYS, Instructions, array_record
from metapulse.rng import generator
from metapulse.server.secure.aggregation import SecureAggregation
from metapulse.sim.engines.cohort import CohortGrid
from metapulse.strategies.aggregate import weighted_mean
from metapulse.strategies.replies import Replies, UpdateStack, check_replies
from metapulse.strategies.secure import SecureSettings, make_ring
from metapulse.trees import norm, sub
from tests.runs import CLIENTS
from tests.secure import EVERYONE, NODES, Recording, Tamper, collect, content, silent

ON = SecureSettings(on=True, max_weight=20.0)
#: Circles of five of six: three shares open a secret.
RING = SecureSettings(on=True, max_weight=20.0, neighbours=4)


def plain(clients: list[int]) -> UpdateStack:
    """The updates themselves, for comparison."""
    replies = CohortGrid(CLIENTS).send_and_receive(Instructions(content(), [NODES[c] for c in EVERYONE], "train"))
    stack = replies.stack
    rows = [stack.clients.index(c) for c in clients]
    return UpdateStack(clients, {name: u[rows] for name, u in stack.update.items()}, stack.weight[rows], {})


def masked(settings: SecureSettings = ON, tamper: Tamper = silent(), **options) -> tuple[Replies, Recording]:
    grid = Recording(CohortGrid(CLIENTS, masks=True), tamper)
    return collect(grid, settings, **options), grid


def is_the_mean_of(replies: Replies, clients: list[int], settings: SecureSettings, weighting: str = "samples") -> None:
    """Within m R / Σ n_i per number, as docs/secure_aggregation.md states."""
    stack = plain(clients)
    weight = stack.weight if weighting == "samples" else torch.ones_like(stack.weight)
    exact = weighted_mean(stack.update, weight)
    assert replies.total.clients == clients
    got = replies.total.mean(exact)
    largest = settings.max_weight if weighting == "samples" else 1.0
    steps = float(weight.sum()) / largest * levels(CLIENTS, settings.bits)
    bound = len(clients) * settings.range / steps + 1e-6 * max(float(p.abs().max()) for p in exact.values())
    assert max(float((got[name] - p).abs().max()) for name, p in exact.items()) <= bound
    assert float(norm(sub(got, exact))) <= 2e-2 * float(norm(exact))  # and the bound means something


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("neighbours", [0, 4])
@pytest.mark.parametrize("weighting", ["samples", "uniform"])
def test_the_mean_is_that_of_the_updates(weighting: str, neighbours: int, bits: int) -> None:
    settings = SecureSettings(on=True, max_weight=10.0, neighbours=neighbours, bits=bits)
    replies, _ = masked(settings, weighting=weighting)
    assert replies.failures == []
    is_the_mean_of(replies, EVERYONE, settings, weighting)


def test_how_many_were_clipped_is_told_and_nothing_else() -> None:
    """R between the largest numbers of the third and the fourth client; the mean is that of what was clipped."""
    largest = torch.cat([u.reshape(CLIENTS, -1) for u in plain(EVERYONE).update.values()], 1).abs().amax(1)
    settings = SecureSettings(on=True, max_weight=20.0, range=float(largest.sort().values[2:4].mean()))
    replies, _ = masked(settings)
    told = {name: m.tolist() for name, m in replies.total.metrics.items()}
    assert told.pop("clipped") == [0.5] * CLIENTS
    flat = torch.cat([u.reshape(CLIENTS, -1) for u in plain(EVERYONE).update.values()], 1)
    weight = plain(EVERYONE).weight
    share = (flat.abs() > settings.range).double().mean(1)
    expected = float((weight * share).sum() / weight.sum())
    assert told.pop("clipped-numbers") == pytest.approx([expected] * CLIENTS, abs=1e-6)
    assert max(told.pop("zeroed-numbers")) < 0.01
    assert told == {}
    assert replies.total.weight.isnan().all()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("settings", [ON, RING], ids=["all", "ring"])
def test_a_client_lost_at_any_stage_is_survived(stage: str, settings: SecureSettings) -> None:
    """At the last stage its vector is in the sum already."""
    replies, _ = masked(settings, silent((stage, 2)))
    assert [(one.client, one.reason) for one in replies.failures] == [(2, f"{stage}: no reply")]
    left = EVERYONE if stage == "unmask" else [c for c in EVERYONE if c != 2]
    is_the_mean_of(replies, left, settings)


def test_losses_at_two_stages_at_once() -> None:
    """Six share, t = 4, a majority: one lost with its vector, one before."""
    replies, _ = masked(ON, silent(("masked vectors", 0), ("unmask", 5)))
    is_the_mean_of(replies, [1, 2, 3, 4, 5], ON)


@pytest.mark.parametrize("stage", STAGES)
def test_below_the_threshold_a_round_is_given_up(stage: str) -> None:
    replies, grid = masked(ON, silent(*((stage, c) for c in (0, 2, 4))))
    assert replies.total is None
    what = "3 are left, and 4 are needed around each" if STAGES.index(stage) < 2 else "3 are left around client"
    assert f"round given up: secure aggregation: {stage}: {what}" in replies.given_up
    assert "4 are needed" in replies.given_up
    theta = {}
    assert check_replies(replies, theta, {}).dropped[-1].client == -1
    stages = [s for s, _, _ in grid.got]
    assert stages[-1] == stage  # nothing is asked for any more


def test_losses_add_up_over_the_stages() -> None:
    lost = [(stage, client) for client, stage in enumerate(STAGES[:3])]
    replies, _ = masked(ON, silent(*lost))
    assert "masked vectors: 3 are left" in replies.given_up
    assert [one.client for one in replies.failures] == [0, 1, 2]


def test_nobody_at_all() -> None:
    replies, _ = masked(ON, lambda stage, client, message: None)
    assert replies.given_up == ("round given up: secure aggregation: set-up: 0 are left, and 4 are needed around each")


def test_the_only_messages_to_look_at_are_those_of_the_lost() -> None:
    (message,) = masked(ON, silent(("set-up", 3)))[0]
    assert message.error.reason == "set-up: no reply"
    assert message.metadata.src_node_id == NODES[3]


def says(stage: str, client: int, **record) -> Tamper:
    """One client that answers something else at a stage."""

    def tamper(at: str, who: int, message: Message) -> Message:
        if (at, who) != (stage, client):
            return message
        held = message.content.config_records[SECURE]
        changed = ConfigRecord({k: record[k](held[k]) if k in record else v for k, v in held.items()})
        return renewed(message, RecordDict({SECURE: changed}))

    return tamper


def renewed(message: Message, records: RecordDict) -> Message:
    message.content.clear()
    message.content.update(records)
    return message


def flipped(parts: list[bytes]) -> list[bytes]:
    return [parts[0][:-1] + bytes([parts[0][-1] ^ 1]), *parts[1:]]


def vector(change) -> Tamper:
    def tamper(stage: str, client: int, message: Message) -> Message:
        if (stage, client) != ("masked vectors", 1):
            return message
        return renewed(message, RecordDict({ARRAYS: array_record({"entries": change(entries_of(message))})}))

    return tamper


def entries_of(message: Message) -> np.ndarray:
    return message.content.array_records[ARRAYS]["entries"].numpy()


MALFORMED = {
    "no key": (says("set-up", 1, keys=lambda v: [b"none", v[1]]), "set-up: a public key cannot be read"),
    "one key": (says("set-up", 1, keys=lambda v: v[:1]), "set-up: 'keys' is no list of 2"),
    "keys as text": (says("set-up", 1, keys=lambda v: ["a", "b"]), "set-up: 'keys' holds something else"),
    "a huge key": (says("set-up", 1, keys=lambda v: [b"a" * 9999, v[1]]), "set-up: 'keys' holds something else"),
    "too few parcels": (says("share keys", 1, sealed=lambda v: v[1:]), "share keys: 'sealed' is no list of 5"),
    "no prints": (says("share keys", 1, prints=lambda v: 7), "share keys: 'prints' is no list of 12"),
    "a short vector": (
        vector(lambda v: v[:-1]),
        "masked vectors: array 'entries' is uint32[100]; expected uint32[101]",
    ),
    "a vector of floats": (vector(lambda v: v.astype(np.float32)), "masked vectors: array 'entries' is float32[101]"),
    "another's share": (says("unmask", 1, owners=lambda v: [9, *v[1:]]), "unmask: shares of others"),
    "owners as text": (says("unmask", 1, owners=lambda v: "all"), "unmask: shares of others"),
    "a forged share": (says("unmask", 1, shares=flipped), "unmask: its share of client 0 is not the one"),
    "no shares": (says("unmask", 1, shares=lambda v: []), "unmask: 'shares' is no list of 6"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_is_dropped_and_named(name: str) -> None:
    tamper, reason = MALFORMED[name]
    replies, _ = masked(ON, tamper)
    assert [one.client for one in replies.failures] == [1]
    assert replies.failures[0].reason.startswith(reason)
    is_the_mean_of(replies, EVERYONE if reason.startswith("unmask") else [0, 2, 3, 4, 5], ON)


def test_an_answer_without_what_was_asked_for() -> None:
    def tamper(stage: str, client: int, message: Message) -> Message:
        empty = RecordDict({ARRAYS: ArrayRecord()}) if stage == "masked vectors" else RecordDict()
        return renewed(message, empty) if client == EVERYONE[STAGES.index(stage)] and client < 2 else message

    replies, _ = masked(ON, tamper)
    assert [one.client for one in replies.failures] == [0, 1]
    assert "one configuration record 'secure'" in replies.failures[0].reason


def test_parcels_that_nobody_can_open_cost_their_sender_no_more_than_the_round() -> None:
    """Its neighbours mask all the same; when it is its seed that must be opened, there are too few shares."""
    junk = says("share keys", 1, sealed=lambda v: [b"x" * 40 for _ in v])
    replies, _ = masked(ON, junk)
    assert replies.given_up.endswith("unmask: 1 shares of client 1, 4 are needed")


def test_a_vector_that_is_none_of_the_agreed_ones_is_no_sum() -> None:
    """Masked garbage cannot be told from a vector; what is left when the masks are gone can, unless it is small."""
    junk = np.random.default_rng(0).integers(2**32, size=101, dtype=np.uint32)
    replies, _ = masked(ON, vector(lambda v: v + junk))
    assert replies.given_up.endswith("unmask: the sum is none of such vectors as were agreed on")


def test_shares_of_a_key_that_is_not_the_advertised_one() -> None:
    """Client 1 shares another key than it masks with, with prints to match, and is lost."""
    grid = CohortGrid(CLIENTS, masks=True)

    def tamper(stage: str, client: int, message: Message) -> Message | None:
        secrets = grid._secure._secrets.get(1)
        if stage == "set-up" and client == 5:
            secrets[SECRETS] = [bytes(47) + b"\x07", secrets[SECRETS][1]]
        return None if (stage, client) == ("masked vectors", 1) else message

    replies = collect(Recording(grid, tamper), ON)
    assert replies.given_up.endswith("unmask: the shares that client 1 gave are of another key")


def test_clients_that_cannot_train_are_lost_with_their_vector() -> None:
    broken = content()
    huge = {name: np.full_like(a.numpy(), np.nan) for name, a in broken.array_records[ARRAYS].items()}
    bad = RecordDict({ARRAYS: array_record(huge), "config": broken.config_records["config"]})
    replies = SecureAggregation(ON, "samples", 5, CohortGrid(CLIENTS, masks=True), 60.0).collect(bad, NODES)
    assert {one.reason for one in replies.failures} == {"masked vectors: update holds NaN or infinity"}
    assert "masked vectors: 0 are left" in replies.given_up


@pytest.mark.parametrize("masks", [True, False])
def test_under_noise_an_update_that_is_no_number_is_sent_as_noise(masks: bool) -> None:
    """Whether one is must not show: not as a client that is lost, nor as a round that is given up."""
    broken = content(guard='{"clip": 1.0, "noise": 0.5, "seed": -1}')
    huge = {name: np.full_like(a.numpy(), np.nan) for name, a in broken.array_records[ARRAYS].items()}
    bad = RecordDict({ARRAYS: array_record(huge), "config": broken.config_records["config"]})
    replies = SecureAggregation(ON, "uniform", 5, CohortGrid(CLIENTS, masks=masks), 60.0).collect(bad, NODES)
    assert (list(replies.failures), replies.given_up) == ([], "")
    assert replies.total is not None
    assert replies.total.clients == list(NODES)


def test_the_threshold_is_that_of_the_neighbourhood() -> None:
    """A majority: 3 in circles of five, 4 among all six."""
    replies, _ = masked(RING, silent(("unmask", 0), ("unmask", 3)))
    assert replies.given_up == ""
    is_the_mean_of(replies, EVERYONE, RING)


def test_pairs_are_not_opened_even_where_each_has_enough_around_it() -> None:
    """A threshold of two of three lets every survivor be opened; those of two pairs would be opened as two pairs."""
    settings = SecureSettings(on=True, max_weight=20.0, neighbours=2, threshold=0.6, drop_out=0.0, corrupt=0.0)
    order = make_ring(settings, EVERYONE, generator(5, "secure/ring", 1))._order.tolist()
    replies, grid = masked(settings, silent(*(("set-up", order[place]) for place in (0, 3))))
    assert "unmask" not in {stage for stage, _, _ in grid.got}  # no secret has been asked for
    assert replies.given_up.endswith(
        "masked vectors: those who are left fall apart into 2 groups, whose sums could be read"
    )


def test_who_has_too_few_around_is_left_out_before_anybody_masks() -> None:
    """Of six in a circle of two neighbours the first and the third are lost at once: the second goes with them."""
    settings = SecureSettings(on=True, max_weight=20.0, neighbours=2, threshold=0.6, drop_out=0.0, corrupt=0.0)
    order = make_ring(settings, EVERYONE, generator(5, "secure/ring", 1))._order.tolist()
    replies, _ = masked(settings, silent(("set-up", order[0]), ("set-up", order[2])))
    told = {one.client: one.reason for one in replies.failures}
    assert told == {
        order[0]: "set-up: no reply",
        order[1]: "set-up: too few neighbours are left",
        order[2]: told[order[0]],
    }
    is_the_mean_of(replies, sorted(order[3:]), settings)
