"""Captions pictures with BLIP, fast on a CPU: `open_captioner` opens a checkpoint directory, a `Captioner` captions.

Nothing here changes the process that imports it: not its environment, heap, warnings, logging, threads or Pillow's
limits. What a process of one's own may set is in `own_process`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .command_line import InputError
    from .images import open_image
    from .runtimes.captioner import Captioner, open_captioner
    from .runtimes.decoding import Decoding
    from .runtimes.scores import Caption

__all__ = ["Caption", "Captioner", "Decoding", "InputError", "open_captioner", "open_image"]

HOMES = {
    "Caption": ".runtimes.scores",
    "Captioner": ".runtimes.captioner",
    "Decoding": ".runtimes.decoding",
    "InputError": ".command_line",
    "open_captioner": ".runtimes.captioner",
    "open_image": ".images",
}

if not TYPE_CHECKING:  # a type checker would take it for a promise of any name

    def __getattr__(name: str) -> Any:
        """Imports what is asked for, so that who needs one module waits for no other."""
        if name not in HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(HOMES[name], __name__), name)
