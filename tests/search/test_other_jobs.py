import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.captioner.command_line import InputError
from stages.captioner.runtimes.cores import usable_cores
from stages.search.other_jobs import check_alone, cores_of_others


@pytest.fixture
def spinning() -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(usable_cores())]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.skipif(cores_of_others(0.1) is None, reason="the system doesn't tell")
def test_beside_a_job_that_takes_the_cores_it_is_refused_in_one_sentence(spinning: None) -> None:
    with pytest.raises(InputError, match=re.escape("cores, so times would be theirs as well: wait until they are")):
        check_alone()


@pytest.mark.parametrize("content", ["", "cpu0 no numbers", "cpu0 1 2 3 4 5 6 7 8 9 10\n"])
def test_a_system_that_does_not_tell_is_taken_for_unknown(tmp_path: Path, content: str) -> None:
    (tmp_path / "stat").write_text(content)
    assert cores_of_others(0.01, tmp_path / "stat") is None
    assert cores_of_others(0.01, tmp_path / "absent") is None
