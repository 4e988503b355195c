from tests.captioner.runtimes.conftest import exported

__all__ = ["exported"]
