from tests.sources.conftest import fetch, hub

__all__ = ["fetch", "hub"]
