"""A cluster of two nodes, which are processes of their own on this machine, one of which is lost halfway."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.captioner.corpus.archives import fill, rows, start
from tests.conftest import PROJECT, Build
from tests.long.captioner.corpus.test_kills import PATIENCE, PICTURES, SIDE, await_files

# Of Ray's own for tests. It ends a node when a line comes, and all at the end of its input.
NODES = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(True, head_node_args={"num_cpus": 1, "object_store_memory": 128 * 1024**2, "temp_dir": sys.argv[1]})
other = cluster.add_node(num_cpus=1, object_store_memory=128 * 1024**2)
cluster.wait_for_nodes()
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.remove_node(other, allow_graceful=False)
print("lost", flush=True)
sys.stdin.readline()
cluster.shutdown()
"""


def test_a_node_is_lost_and_nothing_with_it(
    build: Build, pictures: list[Image.Image], temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = fill(tmp_path / "archive", pictures, PICTURES, SIDE)
    output, log = tmp_path / "captions", tmp_path / "log"
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4, "RAY_USAGE_STATS_ENABLED": "0"}
    (temporary / "ray").mkdir()  # where Ray's own helper says which cluster there is
    nodes = subprocess.Popen(
        [sys.executable, "-c", NODES, str(temporary)],
        cwd=PROJECT,
        env=os.environ | token | {"RAY_TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "nodes.log").open("w"),
        text=True,
    )
    assert nodes.stdin and nodes.stdout
    try:
        address = nodes.stdout.readline().strip()
        assert address, (tmp_path / "nodes.log").read_text()
        stranger = start(
            build("onnx"), archive, output, "--address", address, log=log, **token | {"RAY_AUTH_TOKEN": "f" * 64}
        )
        assert stranger.wait(timeout=PATIENCE) == 1
        assert "can't be reached" in log.read_text()
        process = start(build("onnx"), archive, output, "--address", address, log=log, **token)
        await_files(process, output, 3)
        nodes.stdin.write("\n")
        nodes.stdin.flush()
        assert nodes.stdout.readline() == "lost\n"
        assert process.wait(timeout=2 * PATIENCE) == 0, log.read_text()
    finally:
        nodes.communicate("\n", timeout=PATIENCE)
    assert [row["id"] for row in rows(output)] == list(range(PICTURES))
