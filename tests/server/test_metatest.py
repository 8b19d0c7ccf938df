"""The meta-test: what is asked of whom, what is kept of the answers, and what is made of them."""

import numpy as np
import pytest
from flwr.app import ConfigRecord, Error, Message, MessageType, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import Trial, to_json
from metapulse.client.wire import (
    ARRAYS,
    CONFIG,
    METRICS,
    ROUND,
    RUN,
    TRIAL,
    VERSION,
    WIRE,
    WORK,
    Instructions,
    encode,
    reply_stamp,
)
from metapulse.episodes import EpisodePlan
from metapulse.server.answers import read_answers
from metapulse.server.client_sampler import ClientSampler, SubsetGrid
from metapulse.server.merit import merit
from metapulse.server.metatest import (
    NOT_OFFERED,
    ONE_CLASS,
    MetaTest,
    headline,
    informative_episodes,
    left_out,
    summarise,
)
from metapulse.sim.engines.cohort import FIRST_NODE, CohortGrid, SourceDirectory
from tests.client.test_executor import People, spec
from tests.runs import make

SCENARIOS = {
    "source": {"users": 12, "devices": ["phone", "watch"]},
    "split": {"test": 0.5, "validation": 0.0, "train_devices": ["phone"]},
    "strategy": {"cohort": 2},
    "evaluation": {"scenarios": ["new_user", "new_device", "new_device_history"], "shots": [1, 2], "history_steps": 3},
}


def asked(config, grid=None):
    """Rows and refusals of one meta-test at θ of round 0."""
    work = ClientExecutor(config.client_config())
    grid = grid or CohortGrid(len(work.source))
    test = MetaTest(config, ClientSampler(SourceDirectory(work.source), config), grid)
    found = test.ask(0, encode(work.init()), "run1", config.evaluation.phase, config.evaluation.scenarios)
    return found.rows, found.dropped


def chosen(rows, **wanted):
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


@pytest.fixture(scope="module")
def rows():
    return asked(make("reptile", "fedreptile", **SCENARIOS))[0]


def test_rows_are_complete_and_in_order(rows):
    """Scenarios × shots × held-out clients × metrics × steps, each once; history is a metric of its scenario."""
    names = ("scenario", "shots", "client", "metric", "step")
    keys = [tuple(row[n] for n in names) for row in rows]
    assert len(keys) == len(set(keys)) == 3 * 2 * 6 * 5 * 3 + 2 * 6 * 3
    assert [k[0] for k in keys] == sorted((k[0] for k in keys), key=SCENARIOS["evaluation"]["scenarios"].index)
    scores = {"loss", "accuracy", "balanced_accuracy", "offered", "not_offered"}
    assert {row["metric"] for row in rows} == scores | {"history"}
    assert {row["step"] for row in rows} == {0, 1, 3}


def test_scenarios_ask_the_right_people_on_the_right_device(rows):
    assert {row["device"] for row in chosen(rows, scenario="new_user")} == {"phone"}
    assert {row["device"] for row in chosen(rows, scenario="new_device")} == {"watch"}
    people = [{row["user"] for row in chosen(rows, scenario=name)} for name in SCENARIOS["evaluation"]["scenarios"]]
    assert people[0] == people[1] == people[2]
    assert len(people[0]) == 6


def test_history_changes_the_start_and_not_the_episodes(rows):
    """Before adaptation θ has met the old device; with no history steps both scenarios are the same."""
    plain, moved = (chosen(rows, scenario=s, step=0, metric="loss") for s in ("new_device", "new_device_history"))
    assert [r["client"] for r in plain] == [r["client"] for r in moved]
    assert all(a["value"] != b["value"] for a, b in zip(plain, moved, strict=True))
    none = {**SCENARIOS, "evaluation": {**SCENARIOS["evaluation"], "history_steps": 0}}
    rows = asked(make("reptile", "fedreptile", **none))[0]
    rows = [row for row in rows if row["metric"] != "history"]
    plain, moved = (chosen(rows, scenario=s) for s in ("new_device", "new_device_history"))
    assert [r["value"] for r in plain] == [r["value"] for r in moved]


def test_before_adaptation_learner_settings_do_not_matter(rows):
    """The episodes belong to evaluation.seed alone: same θ, other learner, other run seed, same scores at step 0."""
    other = make("reptile", "fedreptile", **{**SCENARIOS, "learner": {"inner_lr": 0.5}})
    again = asked(other)[0]
    for a, b in zip(chosen(rows, step=0, scenario="new_user"), chosen(again, step=0, scenario="new_user"), strict=True):
        assert a == b
    assert chosen(rows, step=3) != chosen(again, step=3)


def test_adapt_settings_hold_at_test_time_only():
    still = make("reptile", "fedreptile", **{**SCENARIOS, "evaluation": {"adapt": {"inner_lr": 1e-30}}})
    rows = asked(still)[0]
    assert [r["value"] for r in chosen(rows, step=0)] == [r["value"] for r in chosen(rows, step=3)]


@pytest.mark.parametrize(("every", "due"), [(0, [10]), (4, [4, 8, 10]), (5, [5, 10]), (20, [10])])
def test_schedule_always_ends_with_a_meta_test(every, due):
    config = make("reptile", "fedreptile", "sine", 10, evaluation={"every": every})
    source = ClientExecutor(config.client_config()).source
    test = MetaTest(config, ClientSampler(SourceDirectory(source), config), CohortGrid(len(source)))
    assert [r for r in range(1, 11) if test.due(r)] == due


class Forged(CohortGrid):
    """A grid whose client number ``who`` answers with what ``forge`` makes of its honest reply."""

    def __init__(self, size, who, forge):
        super().__init__(size)
        self.who, self.forge = who, forge

    def send_and_receive(self, messages, *, timeout=None):
        messages = list(messages)
        replies = sorted(super().send_and_receive(messages), key=lambda r: r.metadata.src_node_id)
        asked_of = sorted(messages, key=lambda m: m.metadata.dst_node_id)
        return [
            made
            for i, (message, reply) in enumerate(zip(asked_of, replies, strict=True))
            for made in (self.forge(message, reply) if i == self.who else [reply])
        ]


def metrics(message, **values):
    return [said(message, {METRICS: MetricRecord(values)})]


def said(message, records, **changes):
    """A reply that repeats version, run and round of its instruction, but for changes (None: left out)."""
    told = reply_stamp(message.content.config_records[CONFIG]) | {k.replace("_", "-"): v for k, v in changes.items()}
    told = ConfigRecord({k: v for k, v in told.items() if v is not None})
    return Message(RecordDict({**records, CONFIG: told}), reply_to=message)


GOOD = [0.5] * 6  # two episodes, judged after 0, 1 and 3 steps
FORGERIES = {
    "an error": lambda m, r: [Message(Error(0, "battery\nempty"), reply_to=m)],
    "nothing": lambda m, r: [],
    "twice": lambda m, r: [r, r],
    "no metrics": lambda m, r: [said(m, {})],
    "a second record": lambda m, r: [said(m, {METRICS: MetricRecord({"loss": GOOD}), "more": ConfigRecord({})})],
    "another name": lambda m, r: [said(m, {"other": MetricRecord({"loss": GOOD})})],
    "of the round before": lambda m, r: [said(m, {METRICS: MetricRecord({"loss": GOOD})}, server_round=-1)],
    "of another run": lambda m, r: [said(m, {METRICS: MetricRecord({"loss": GOOD})}, run="b2")],
    "of another version": lambda m, r: [said(m, {METRICS: MetricRecord({"loss": GOOD})}, wire=99)],
    "true for a version": lambda m, r: [said(m, {METRICS: MetricRecord({"loss": GOOD})}, wire=True)],
    "of an unknown kind": lambda m, r: [Message(RecordDict({METRICS: MetricRecord({"loss": GOOD})}), reply_to=m)],
    "one number": lambda m, r: metrics(m, loss=0.5),
    "too short": lambda m, r: metrics(m, loss=GOOD[1:]),
    "too many": lambda m, r: metrics(m, **{f"m{i}": GOOD for i in range(17)}),
    "a long name": lambda m, r: metrics(m, **{"m" * 65: GOOD}),
    "no metric": lambda m, r: metrics(m, **{"num-examples": 3.0}),
    "NaN for a fact": lambda m, r: metrics(m, offered=[float("nan"), *GOOD[1:]]),
    "more than all right": lambda m, r: metrics(m, accuracy=[1.5, *GOOD[1:]]),
    "less than none right": lambda m, r: metrics(m, balanced_accuracy=[-0.1, *GOOD[1:]]),
}
TAKEN = {"twice", "a second record"}  # the first answer counts; a record that was not asked for is not read


@pytest.mark.parametrize("name", FORGERIES)
def test_an_unusable_answer_is_dropped_named_and_counted(name):
    config = make("reptile", "fedreptile")
    work = ClientExecutor(config.client_config())
    honest, none = asked(config)
    assert none == []
    who = sorted({row["client"] for row in honest})[0]
    rows, dropped = asked(config, Forged(len(work.source), 0, FORGERIES[name]))
    others = [row for row in honest if row["client"] != who]
    assert [row for row in rows if row["client"] != who] == others
    assert [d.client for d in dropped] == ([] if name == "a second record" else [who])
    assert all("\n" not in d.reason for d in dropped)
    assert any(row["client"] == who for row in rows) == (name in TAKEN)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_loss_that_overflowed_is_the_worst_score_and_no_error(number):
    """Two episodes after 0, 1 and 3 steps, of which the last of the second ran away: shares count as 0 there."""
    config = make("reptile", "fedreptile")
    size = len(ClientExecutor(config.client_config()).source)
    loss, accuracy = [0.5, 0.5, 0.5, 0.5, 0.5, number], [0.8] * 6
    grid = Forged(size, 0, lambda m, r: metrics(m, loss=loss, accuracy=accuracy))
    rows, dropped = asked(config, grid)
    who = min(row["client"] for row in rows)
    values = {(row["metric"], row["step"]): row["value"] for row in chosen(rows, client=who)}
    shares = {("accuracy", 0): 0.8, ("accuracy", 1): 0.8, ("accuracy", 3): 0.4}
    assert values == {("loss", 0): 0.5, ("loss", 1): 0.5} | shares
    assert dropped == []
    work = ClientExecutor(config.client_config())
    found = MetaTest(config, ClientSampler(SourceDirectory(work.source), config), grid).ask(
        0, encode(work.init()), "run1", "test", ["new_user"]
    )
    assert [(one.asked, one.answered, one.diverged) for one in found.people] == [(2, 2, 1)]


def test_an_answer_from_somebody_who_was_not_asked_is_refused():
    config = make("reptile", "fedreptile")
    size = len(ClientExecutor(config.client_config()).source)

    def stranger(message, reply):
        other = Message(message.content, size + 50, MessageType.EVALUATE)
        return [reply, *metrics(other, loss=GOOD)]

    rows, dropped = asked(config, Forged(size, 0, stranger))
    assert rows == asked(config)[0]
    assert [d.client for d in dropped] == [-1]


def test_a_stack_of_answers_is_read_as_its_messages_are():
    """Scores, the client that left its data at home, and who overflowed."""
    work, asked_of = to_json(spec("fedavg_ft", inner_lr=1e30)), Trial(plan=EpisodePlan("groups", 2), episodes=2)
    theta = ClientExecutor(spec()).init()
    config = ConfigRecord({WIRE: VERSION, ROUND: 3, WORK: work, TRIAL: to_json(asked_of), RUN: "a1"})
    nodes = [client + FIRST_NODE for client in (3, 4, 7)]
    content = RecordDict({ARRAYS: encode(theta), CONFIG: config})
    replies = CohortGrid(20, chunk=2).send_and_receive(Instructions(content, nodes, MessageType.EVALUATE))
    view = SubsetGrid(CohortGrid(20), [3, 4, 7], SourceDirectory(People()))
    (stack, refused), (single, dropped) = (
        read_answers(given, view, asked_of, reply_stamp(config)) for given in (replies, list(replies))
    )
    assert [one.client for one in refused] == [4]
    assert refused == dropped
    assert list(stack) == list(single) == [3, 7]
    assert stack[3].overflowed.any()
    for client in (3, 7):
        assert np.array_equal(stack[client].overflowed, single[client].overflowed)
        assert stack[client].values.keys() == single[client].values.keys()
        for name, values in stack[client].values.items():
            assert np.array_equal(values, single[client].values[name], equal_nan=True)


table = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.sampled_from([0, 5]), st.floats(0, 1)),
    min_size=1,
    max_size=40,
)


@given(drawn=table)
def test_summary_counts_every_row_once_and_does_not_depend_on_their_order(drawn):
    rows = [
        {"round": r, "phase": "test", "scenario": "new_user", "client": i, "user": u, "device": "d"}
        | {"shots": 5, "step": s, "metric": "accuracy", "value": v}
        for i, (u, r, s, v) in enumerate(drawn)
    ]
    made = summarise(rows)
    assert sum(entry["clients"] for entry in made) == len(rows)
    for entry in made:
        values = [row["value"] for row in rows if (row["round"], row["step"]) == (entry["round"], entry["step"])]
        assert entry["mean"] == pytest.approx(np.mean(values))
    backwards = summarise(rows[::-1])
    assert [e["mean"] for e in made] == pytest.approx([e["mean"] for e in backwards])


def test_headline_is_the_first_scenario_at_the_last_step():
    def row(scenario, shots, step, metric, value):
        return {"scenario": scenario, "shots": shots, "step": step, "metric": metric, "value": value}

    rows = [
        row("new_user", 1, 0, "balanced_accuracy", 0.1),
        row("new_user", 1, 5, "loss", 9.0),
        row("new_user", 1, 5, "balanced_accuracy", 0.6),
        row("new_user", 1, 5, "balanced_accuracy", 0.8),
        row("new_device", 1, 5, "balanced_accuracy", 0.0),
    ]
    assert headline(rows) == pytest.approx(0.7)
    assert headline([]) is None
    assert headline([row("new_user", 1, 5, "mse", 2.5)]) == 2.5


def answered(offered, not_offered, scores):
    """What a client with as many episodes says after one step."""
    facts = {"offered": offered, "not_offered": not_offered, "accuracy": scores}
    return {name: np.array(values, dtype=np.float64)[:, None] for name, values in facts.items()}


@pytest.mark.parametrize(
    ("offered", "not_offered", "telling", "apart"),
    [
        ([3, 1], [0.0, 0.0], [True, False], ""),  # an episode with one class on offer leaves no choice
        ([1, 1], [0.5, 0.0], [False, False], ONE_CLASS),
        ([3, 2], [1.0, 0.2], [False, True], ""),  # nothing of what was offered was asked about
        ([3, 1], [1.0, 0.0], [False, False], NOT_OFFERED),
    ],
)
def test_an_episode_without_a_choice_tells_nothing_of_the_method(offered, not_offered, telling, apart):
    answer = answered(offered, not_offered, [1.0, 1.0])
    found, reason = informative_episodes(answer, Trial(episodes=2))
    assert (found.tolist(), reason) == (telling, apart)
    assert (
        informative_episodes(answer, Trial(episodes=2, restrict=False))[1] == ""
    )  # every class could have been the answer
    assert informative_episodes({"mse": np.ones((2, 1))}, Trial(episodes=2))[1] == ""  # regression


def test_people_without_a_choice_are_in_no_mean_and_are_counted():
    """Two people at .6 and .4, and one who cannot be wrong: the mean is .5, over two."""

    def row(client, value, apart="", metric="balanced_accuracy"):
        keys = {"round": 1, "phase": "test", "scenario": "new_user", "shots": 5, "step": 0}
        who = {"client": client, "user": f"p{client}", "device": "phone"}
        return {**keys, **who, "metric": metric, "apart": apart, "value": value}

    rows = [row(0, 0.6), row(1, 0.4), row(2, 1.0, ONE_CLASS)]
    rows += [row(2, 1.0, ONE_CLASS, "offered"), row(0, 3.0, metric="offered")]
    scores = {score["metric"]: score for score in summarise(rows)}
    assert scores["balanced_accuracy"]["mean"] == pytest.approx(0.5)
    assert (scores["balanced_accuracy"]["clients"], scores["balanced_accuracy"]["apart"]) == (2, 1)
    assert scores["offered"]["mean"] == 2.0  # what was asked is reported for all clients
    assert headline(rows) == merit(rows) == pytest.approx(0.5)
    assert left_out(rows) == {ONE_CLASS: 1}
    assert merit([row(2, 1.0, ONE_CLASS)]) is None
