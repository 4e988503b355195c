"""A whole study of a tiny model; one that is killed is in tests/long/search."""

import re
from pathlib import Path

import pytest

from stages.captioner.command_line import InputError
from stages.page.searches import Study
from stages.records.examples import SEARCH
from stages.search.record import file_name, found_table, study_of
from stages.search.study import done
from stages.search.trials import check_pictures, results
from stages.setup.params import PARAMS, read_params
from tests.conftest import PROJECT
from tests.page.pages import WHOSE
from tests.search.studies import run, start


def test_a_study_tries_candidates_and_keeps_what_it_found(
    baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(baseline.parents[1])
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))  # for processes that time
    study, given = start(Path(), tmp_path)
    said = run(study, given, 6)
    assert said[:4] == [f"candidate 0: {what}" for what in ("tried on a few pictures", "built", "captioning", "timed")]
    first, *others = results(study)
    assert first["state"] == "timed" and first["figures"]["lead"] == first["figures"]["counted"] == 1
    assert first["figures"]["speedup_ci_low"] < first["figures"]["speedup"] < first["figures"]["speedup_ci_high"]
    assert first["recipe"].keys() == {"equalize", "runtime", "quantize"}
    (given_up,) = (own for own in others if "keep their caption" in own["why"])
    assert given_up["state"] == "given up" and given_up["figures"].keys() == {"counted", "first_kl"}
    assert given_up["figures"]["counted"] < 1 and given_up["figures"]["first_kl"] > 0
    assert any(own["why"].startswith("structured pruning by") for own in others if own["state"] == "refused")
    kept, recipes = study_of(study, given, WHOSE, "")
    assert Study.model_validate_json(kept.model_dump_json(exclude_none=True)) == kept
    assert len(kept.candidates) + sum(own["state"] == "again" for own in results(study)) == len(done(study))
    assert set(kept.found.values()) <= {own.checkpoint for own in kept.candidates if own.state == "timed"}
    assert recipes.keys() == kept.found.keys() and found_table(kept).count("\n") == 2 + len(recipes)
    assert re.fullmatch(r"demo\.[a-z0-9_-]+\.json", file_name(kept))
    assert {path.name for path in tmp_path.glob("candidate_*")} <= {"candidate_0", "candidate_1"}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("blip-base", "the photographs of blip-base are too few to judge captions on"),
        ("demo", "there are no pictures to search on: say how many in params.yaml"),
    ],
)
def test_without_pictures_of_its_own_a_search_is_one_sentence(tmp_path: Path, model: str, said: str) -> None:
    params = read_params(PROJECT / PARAMS).model_copy(update={"model": model})
    (tmp_path / SEARCH).mkdir(parents=True)
    (tmp_path / SEARCH / "captions.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(InputError, match=re.escape(said)):
        check_pictures(params, tmp_path / SEARCH)
