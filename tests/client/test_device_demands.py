"""What a device asks of an answer whatever an instruction says: masks, noise of its own, a larger query."""

from __future__ import annotations

import json

from tests.client.test_hostile_instructions import EVALUATE, NODE, QUESTION, SPEC, refused, tell


def test_a_device_asks_for_protection_of_its_own() -> None:
    """Who writes an instruction leaves masks and noise out, or draws the noise again, where nothing stops that."""
    masked, noisy, wide = (NODE | {"limits": text} for text in ('{"masked": true}', '{"noise": 2.0}', '{"query": 3}'))
    tell(guard='{"clip": 0.5, "noise": 1.0}', node=noisy)
    assert "an answer in the clear: this device trains under secure aggregation" in refused(node=masked)
    for guard, told in {
        '{"clip": 0.5, "noise": 0.9}': "noise: 1.8 C; limits.noise of this device is 2",
        '{"clip": 0.5, "noise": 1.0, "seed": 3}': "noise: 2 C, which can be drawn again; limits.noise",
    }.items():
        assert told in refused(node=noisy, guard=guard)
    assert "noise: none; limits.noise of this device is 2" in refused(node=noisy)
    few = json.dumps(QUESTION | {"plan": SPEC["episodes"] | {"query": 2}})
    assert "2 query samples in an episode; limits.query of this device is 3" in refused(
        kind=EVALUATE, node=wide, trial=few
    )
    tell(EVALUATE, node=wide)
