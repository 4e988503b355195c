"""To be imported first by stages that time nothing: PyTorch's threads then soon sleep while they wait for each other.

By default they spin for long, and beside another busy process mostly while the thread that all wait for does not get to
run: beside three on two cores, captioning takes 3 to 4 times as long. Sleeping at once, every product has to wake them:
alone, it takes twice as long. So they spin for as long as libgomp lets them once it knows of more threads than cores.
What is timed, and the command, runs as PyTorch's users run it. OpenMP reads the environment once, while torch is
imported.
"""

import os

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
