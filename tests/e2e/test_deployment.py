"""A deployment on the loopback address: one SuperLink, two SuperNodes, each a process of its own; with TLS too.

Every message is a fresh ClientApp process, so a round or two is all that is run: what it leaves is held against the
cohort engine on the same two clients.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from metapulse.server.config import build_config
from metapulse.server.config_text import to_toml
from metapulse.sim import experiment
from tests.processes import PATIENCE, Program, connection, flwr, free_port, status
from tests.runs import Result, distance, read

COMMON: dict[str, Any] = {
    "run": {"rounds": 1, "seed": 3},
    "split": {"test": 0.0, "validation": 0.0},
    "model": {"name": "mlp", "hidden": [6]},
    "transform": {"name": "none"},
    "learner": {"name": "maml", "inner_steps": 2},
    "strategy": {"name": "fedmaml", "cohort": 0},
    "evaluation": {"scenarios": ["known_user"], "steps": [0, 1], "shots": [4], "episodes": 2, "split": "samples"},
    "episodes": {"split": "samples", "shots": 4},
}


@contextmanager
def programs(
    folder: Path, link: Sequence[str], node: Sequence[str], per_node: Sequence[Sequence[str]], security: str
) -> Iterator[Callable[[], None]]:
    """A SuperLink, its connection in Flower's home, and a call that starts the SuperNodes."""
    port = free_port()
    connection(folder, port, security)
    environment = {"FLWR_HOME": str(folder)}
    command = ["flower-superlink", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--disable-runtime-dependency-installation", *link]
    with ExitStack() as stack:
        superlink = stack.enter_context(Program(command, folder / "superlink.log", environment))
        superlink.listens(port)

        def start_nodes() -> None:
            for i, own in enumerate(per_node):
                here = ["--superlink", f"127.0.0.1:{port}", "--host", "127.0.0.1", "--port", str(free_port())]
                command = ["flower-supernode", *here, *node, *own]
                stack.enter_context(Program(command, folder / f"supernode-{i}.log", environment))

        yield start_nodes


def run(folder: Path, config: dict[str, Any]) -> Result:
    """``flwr run`` on two nodes to its end; what it left."""
    settings = {"out": str(folder / "run"), "min-nodes": 2, "wait-s": PATIENCE, "config": to_toml(config)}
    (folder / "settings.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    said = flwr("run", str(Path(__file__).parents[2]), "here", "--stream", "-c", "settings.toml", home=folder)
    found = re.search(r"Successfully started run (\d+)", said)
    assert found, said
    assert status(folder, found[1])["status"] == "finished:completed", said
    return read(folder / "run", json.loads((folder / "run" / "summary.json").read_text()))


def same_as_cohort(found: Result, config: dict[str, Any], folder: Path) -> None:
    expected = read(folder / "cohort", experiment.run_experiment(build_config(config), folder / "cohort"))
    assert found.summary["dropped"] == 0
    assert found.digests[0] == expected.digests[0]
    assert found.digests[1] != found.digests[0]
    assert distance(found.thetas[1], expected.thetas[1]) <= 1e-6
    assert len(found.rows) == len(expected.rows)
    assert bool(found.rows) == bool(config["evaluation"]["scenarios"])
    for ours, theirs in zip(found.rows, expected.rows, strict=True):
        assert {k: v for k, v in ours.items() if k != "value"} == {k: v for k, v in theirs.items() if k != "value"}
        np.testing.assert_allclose(ours["value"], theirs["value"], rtol=1e-5, atol=1e-6)


def test_two_nodes_over_tls_that_keep_their_data_and_their_models(tmp_path: Path) -> None:
    """Encrypted, the nodes known by their keys, and each with a file that neither the others nor the server have seen.

    Two rounds, so that the second goes on from what the first left on the device, and nowhere else.
    """
    tls = make_certificates(tmp_path)
    people(tmp_path)
    per_node = []
    for i in range(2):
        make_key(tmp_path / f"node-{i}")
        source = json.dumps({"name": "own", "path": str(tmp_path / f"person-{i}.csv")})
        settings = f"partition-id={i} source='{source}' state='{tmp_path / f'device-{i}'}'"
        per_node.append(["--auth-supernode-private-key", str(tmp_path / f"node-{i}"), "--node-config", settings])
    link = [*tls, "--enable-supernode-auth", "--database", str(tmp_path / "state.db")]
    node = ["--root-certificates", str(tmp_path / "ca.crt"), *tls]
    config = {**COMMON, "source": {"name": "own", "path": "on the devices"}, "run": {"rounds": 2, "seed": 3}}
    config |= {"learner": {"name": "ditto"}, "strategy": {"name": "fedavg", "cohort": 0}, "checkpoint": {"keep": 9}}
    with programs(tmp_path, link, node, per_node, f'root-certificates = "{tmp_path / "ca.crt"}"') as start_nodes:
        for i in range(2):
            flwr("supernode", "register", f"node-{i}.pub", "here", home=tmp_path)
        start_nodes()
        found = run(tmp_path, config)
    same_as_cohort(found, {**config, "source": {"name": "own", "path": str(tmp_path / "all_people.csv")}}, tmp_path)
    kept = [sorted(p.name for p in (tmp_path / f"device-{i}").rglob("*.safetensors")) for i in range(2)]
    assert kept == 2 * [["000001.safetensors", "000002.safetensors"]]
    assert list((tmp_path / "run").rglob("devices")) == []
    assert len(list((tmp_path / "cohort").rglob("devices"))) == 2


def test_two_nodes_whose_updates_nobody_sees(tmp_path: Path) -> None:
    """Four round trips in one round; a node's secrets last from one process to the next, and are in no file of it.

    What its folder keeps is which round it has answered.
    """
    config = {**COMMON, "source": {"name": "sine", "clients": 2}, "transform": {"name": "none"}}
    config |= {"strategy": {"name": "fedmaml", "cohort": 0, "outer": "sgd", "lr": 0.1}}
    config |= {"secure_aggregation": {"on": True, "max_weight": 20.0}, "evaluation": {"scenarios": []}}
    per_node = [["--node-config", f"partition-id={i} state='{tmp_path / f'device-{i}'}'"] for i in range(2)]
    with programs(tmp_path, ["--insecure"], ["--insecure"], per_node, "insecure = true") as start_nodes:
        start_nodes()
        found = run(tmp_path, config)
    same_as_cohort(found, config, tmp_path)
    kept = [json.loads((tmp_path / f"device-{i}" / "answered.json").read_text()) for i in range(2)]
    assert [list(one.values()) for one in kept] == 2 * [[[1, 1]]]
    assert {p.name for p in tmp_path.glob("device-*/*")} == {"answered.json", "journal.json"}


def people(folder: Path) -> None:
    """Two people's samples of three classes: a file each, and one with both for the comparison."""
    draw = np.random.default_rng(0)
    lines: list[list[str]] = [[], []]
    for i in range(2):
        for n in range(24):
            a, b = draw.normal(size=2) + n % 3
            lines[i].append(f"{a:.6f},{b:.6f},{'abc'[n % 3]},{i}\n")
    head = "a,b,y,user\n"
    for i, own in enumerate(lines):
        (folder / f"person-{i}.csv").write_text(head + "".join(own))
    (folder / "all_people.csv").write_text(head + "".join(lines[0] + lines[1]))


def make_key(path: Path) -> None:
    """A key pair as ``ssh-keygen -t ecdsa -b 384 -N ''`` makes it."""
    key = ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    )
    path.chmod(0o600)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    path.with_suffix(".pub").write_bytes(public)


def make_certificates(folder: Path) -> list[str]:
    """A certificate authority and a server certificate for the loopback address; the arguments that name them."""
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, issuer: str, key: Any, signer: Any, *extensions: tuple[Any, bool]) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(signer, hashes.SHA256())

    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    mine = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    theirs = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    root = certificate(
        "ca", "ca", authority, authority, (x509.BasicConstraints(True, None), True), (usage, True), (mine, False)
    )
    leaf = certificate("localhost", "ca", server, authority, (names, False), (theirs, False))
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(root.public_bytes(pem))
    (folder / "server.pem").write_bytes(leaf.public_bytes(pem))
    (folder / "server.key").write_bytes(
        server.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    arguments = {"ca-certfile": "ca.crt", "certfile": "server.pem", "keyfile": "server.key"}
    return [word for key, name in arguments.items() for word in (f"--ssl-{key}", str(folder / name))]
