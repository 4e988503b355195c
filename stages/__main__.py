"""`python stages STAGE ...`: `python -m stages.STAGE ...`, also where PYTHONSAFEPATH keeps Python from looking here."""

import gc
import os
import runpy
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

if not hasattr(sys, "orig_argv"):  # before Python 3.10
    sys.orig_argv = [sys.executable] + sys.argv  # noqa: RUF005  (in any Python)
name = sys.argv[1] if len(sys.argv) > 1 else ""
module = os.path.join(HERE, *name.split("."))
if not name or not (os.path.isfile(module + ".py") or os.path.isfile(os.path.join(module, "__main__.py"))):
    sys.exit("error: there is no stage '" + name + "': name one, such as python stages report")
# What `python -m` would leave.
sys.argv[:2] = ["-m"]
sys.path[:] = [place for place in sys.path if os.path.abspath(place) != HERE]
sys.path.insert(0, os.path.dirname(HERE))
gc.disable()  # while it imports what it needs: `command_line.run` enables it
runpy.run_module("stages." + name, run_name="__main__", alter_sys=True)
