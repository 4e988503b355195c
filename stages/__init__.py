"""The stages of the pipeline, and what they share."""

import os

# pydantic would search all installed packages for plugins, which takes as long as the rest of its import.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
