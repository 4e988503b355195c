"""The tiny checkpoints of the export tests, one for each runtime."""

from tests.export.conftest import Build, build

__all__ = ["Build", "build"]
