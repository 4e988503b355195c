from tests.captioner.corpus.conftest import temporary

__all__ = ["temporary"]
