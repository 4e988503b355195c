"""To be imported first by stages that time nothing: PyTorch's threads then sleep while they wait for each other.

They would spin, and beside another busy process mostly while the thread that all wait for does not get to run. What is
timed, and the command, runs as PyTorch's users run it. OpenMP reads the environment once, while torch is imported.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
