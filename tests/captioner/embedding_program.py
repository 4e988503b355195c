"""A program that captions among other things. Prints the captions, its modules, and what of its process changed."""

import importlib
import json
import logging
import os
import sys
import warnings
from typing import Any

from PIL import Image, PngImagePlugin


def process_state() -> dict[str, Any]:
    return {
        "environment": dict(os.environ),
        "warnings": [*map(str, warnings.filters), str(warnings.showwarning)],
        "logging": [logging.root.level, *map(str, logging.root.handlers), logging.root.manager.disable],
        "limits of pictures": [Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY],
        "modules kept away": [name for name, module in sys.modules.items() if module is None],
        "hooks": [str(sys.excepthook), str(sys.stdout.errors), str(sys.path)],
    }


def main(own_imports: str, checkpoint: str, *pictures: str) -> None:
    for module in own_imports.split(","):
        importlib.import_module(module)
    before = process_state()
    from blip_on_cpu import open_captioner, open_image

    with open_captioner(checkpoint) as captioner:
        captions = captioner.caption([open_image(picture) for picture in pictures])
    after = process_state()
    changed = [part for part in before if before[part] != after[part]]
    modules = sorted({name.partition(".")[0] for name in sys.modules})
    print(json.dumps({"captions": captions, "changed": changed, "modules": modules}))


if __name__ == "__main__":
    main(*sys.argv[1:])
