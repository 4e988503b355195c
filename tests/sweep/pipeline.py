"""What stands for this project's stages where only the sweep itself is tested: they take no time and say what they did.

Run as `python pipeline.py STAGE CHECKPOINT`, in a DVC project of the shape of ours.
"""

import json
import os
import sys
import time
from pathlib import Path

import yaml

# All of a run are below one folder outside of the project, which sweeps clone.
OUTSIDE = Path(os.environ.get("OUTSIDE", "outside"))
RAN, HOLD, BROKEN = OUTSIDE / "ran", OUTSIDE / "hold", OUTSIDE / "broken"
DVC_YAML = """
stages:
  evaluate_baseline:
    cmd: python pipeline.py evaluate baseline
    deps: [pipeline.py]
    params: [decoding]
    outs: [reports/quality/baseline.json: {cache: false}]
  optimize:
    foreach: ${variants}
    do:
      cmd: python pipeline.py optimize ${key}
      deps: [pipeline.py]
      params: [decoding, "variants.${key}"]
      outs: ["models/${key}"]
  evaluate:
    foreach: ${variants}
    do:
      cmd: python pipeline.py evaluate ${key}
      deps: [pipeline.py, "models/${key}", reports/quality/baseline.json]
      outs: ["reports/quality/${key}.json": {cache: false}]
  benchmark_baseline:
    cmd: python pipeline.py benchmark baseline
    deps: [pipeline.py]
    params: [decoding]
    outs: [reports/benchmark/baseline.json: {cache: false}]
  benchmark:
    foreach: ${variants}
    do:
      cmd: python pipeline.py benchmark ${key}
      deps: [pipeline.py, "models/${key}"]
      outs: ["reports/benchmark/${key}.json": {cache: false}]
"""


# As `stages.records.provenance` has it.
WHOSE = {"model": "blip-base", "weights": "a" * 16, "pictures": "b" * 16, "settings": "c" * 16, "code": "d" * 16}
WHOSE |= {"machine": "A CPU", "host": "e" * 16}


def with_interval(name: str, value: float) -> dict[str, float]:
    return {name: value, f"{name}_ci_low": value - 0.1, f"{name}_ci_high": value + 0.1}


def main(stage: str, checkpoint: str) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    amount = params["variants"]["pruned_quantized"]["prune"]["amount"]
    value = 0.0 if checkpoint == "baseline" else amount
    with RAN.open("a") as ran:
        print(stage, checkpoint, value, file=ran)
    if not Path("data/local/photos/0.png").exists():
        sys.exit("error: the pictures are not here")
    if stage == "benchmark":
        while HOLD.exists():
            time.sleep(0.05)
        if BROKEN.exists() and BROKEN.read_text() == str(value):
            sys.exit("error: the machine is on fire: put it out")
    figures = {
        "optimize": {"value": value, "decoding": params["decoding"]},
        "evaluate": with_interval("cider", 5 - value) | {"images": 4},
        "benchmark": with_interval("speedup", 1 + value)
        | with_interval("latency_ms", 20.5)
        | {"checkpoint_mb": 6.5, "provenance": WHOSE},
    }
    folder = {"optimize": "models", "evaluate": "reports/quality", "benchmark": "reports/benchmark"}[stage]
    path = Path(folder) / (checkpoint if stage == "optimize" else f"{checkpoint}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures[stage]))


if __name__ == "__main__":
    main(*sys.argv[1:])
