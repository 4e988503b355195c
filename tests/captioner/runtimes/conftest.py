from functools import cache

import pytest

from stages.captioner.checkpoint import Manifest, seal
from stages.captioner.runtimes.captioner import Parts, open_captioner
from tests.captioner.runtimes.references import RUNTIMES, Exported
from tests.conftest import save_processor, tiny_model


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The same model's float export, by runtime and seed."""

    @cache
    def export(runtime: str, seed: int) -> Parts:
        folder, model = tmp_path_factory.mktemp(runtime), tiny_model(seed)
        save_processor(folder)
        (folder / "config.json").write_text(model.config.to_json_string(use_diff=False))
        RUNTIMES[runtime].export(model, None, in_float=[], in_int8=[], calibration=[], directory=folder)
        manifest = Manifest(runtime=runtime, origin={}, recipe={}, passes={}, libraries={}, validated_on=[])
        seal(folder, manifest)
        return open_captioner(folder, threads=1).parts

    return export
