import logging
from contextlib import nullcontext

import pytest
from openvino.tools.ovc.logger import init_logger

from stages.export.quiet import quiet

Log = tuple[int, int, list[tuple[logging.Handler, int]], list[object]]


def log() -> Log:
    root = logging.root
    handlers = [(handler, handler.level) for handler in root.handlers]
    return root.manager.disable, root.level, handlers, list(root.filters)


@pytest.mark.parametrize("fails", [False, True])
def test_what_exporters_do_to_the_log_is_undone(fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    before = log()
    with pytest.raises(RuntimeError) if fails else nullcontext(), quiet():
        init_logger("ERROR", False, True)  # as OpenVINO's conversion does
        logging.root.addHandler(logging.StreamHandler())  # as `logging.warning` does where there is none
        assert log() != before
        logging.getLogger("exporter").warning("that one should do what happens anyway")
        if fails:
            raise RuntimeError("as an export that is impossible")
    assert log() == before
    assert caplog.messages == []
    logging.getLogger("stages").warning("heard")
    assert caplog.messages == ["heard"]
