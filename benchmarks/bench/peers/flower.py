"""Stock Flower: its Simulation Runtime on Ray, and its FedAvg untouched.

Option: cores per client. .5 is the best of .25, .5, 1 and 2 on two cores.
"""

from __future__ import annotations

import logging
import os

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, MetricRecord, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks.bench.harness import Job, Meter, read_job
from benchmarks.bench.peers.flower_app import app as client_app
from benchmarks.bench.workload import CLIENTS

SHARE = 0.5


def main() -> None:
    """Run as asked on the command line."""
    job = read_job()
    failures: list[BaseException] = []
    server = ServerApp()

    @server.main()
    def rounds(grid: Grid, context: Context) -> None:
        try:
            _rounds(job, grid)
        except BaseException as error:  # Flower would only log it
            failures.append(error)

    share = float(job.options[0]) if job.options else SHARE
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    _start_ray(os.cpu_count() or 1)
    run_simulation(server, client_app, CLIENTS, backend_config={"client_resources": {"num_cpus": share}})
    if failures:
        raise failures[0]


def _rounds(job: Job, grid: Grid) -> None:
    """The first round says who took part; those that are measured are plain."""
    meter = Meter(job)
    config = ConfigRecord({"workload": job.load.workload.name, "folder": str(job.load.folder)})
    arrays = ArrayRecord({name: Array(p) for name, p in job.load.theta.items()})
    share = job.load.workload.cohort / CLIENTS
    first = FedAvg(share, 0.0, train_metrics_aggr_fn=_who).start(grid, arrays, 1, train_config=config)
    meter.first()
    theta = {name: array.numpy() for name, array in first.arrays.items()}
    meter.keep(theta, list(first.train_metrics_clientapp[1]["clients"]))
    arrays, strategy, done = first.arrays, FedAvg(share, 0.0), 0
    meter.start()
    while not meter.over(done):
        arrays = strategy.start(grid, arrays, 1, train_config=config).arrays
        done += 1
    meter.stop(done)
    meter.report()


def _who(replies: list[RecordDict], weighted_by: str) -> MetricRecord:
    return MetricRecord({"clients": sorted(int(r.metric_records["metrics"]["client"]) for r in replies)})


def _start_ray(cores: int) -> None:
    """On the loopback address alone: a Ray port lets anyone run code. Flower uses the Ray it finds."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # on Linux, too: this machine is 127.0.0.1
    import ray
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False
    ray.init(
        num_cpus=cores,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


if __name__ == "__main__":
    main()
