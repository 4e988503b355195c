"""A whole study of a tiny model."""

import re
from pathlib import Path

import pytest

from stages.page.searches import Study, found_table, found_variants
from stages.search.candidates import Before, keep_only, try_candidate
from stages.search.record import file_name, study_of
from stages.search.study import done
from stages.search.trials import results
from stages.setup.params import Accept
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
    assert others[0]["why"] == "on the pictures to search on it breaks checkpoint_mb_at_most"
    assert done(study)[1].constraints["checkpoint_mb_at_most"] > 0
    (cut,) = (own for own in others if "lead" in own["figures"])
    assert cut["figures"]["counted"] < 1 and ("lead_ci_low" in cut["figures"]) == (cut["state"] == "timed")
    assert any(own["why"].startswith("structured pruning by") for own in others if own["state"] == "refused")
    strict = given._replace(params=given.params.model_copy(update={"accept": Accept(same_caption_at_least=0.99)}))
    given_up = try_candidate(7, done(study)[results(study).index(cut)].params, Before({}, {}), strict, said.append)
    assert given_up.state == "given up" and "keep their caption" in given_up.why
    kept, recipes = study_of(study, given, WHOSE, "")
    assert Study.model_validate_json(kept.model_dump_json(exclude_none=True)) == kept
    assert len(kept.candidates) == len(done(study))
    assert kept.found and set(kept.found.values()) <= {own.checkpoint for own in kept.of_state("timed")}
    assert recipes.keys() == kept.found.keys()
    assert found_table(found_variants(kept, {}, {})).count("\n") == 2 + 2 * len(recipes)
    assert re.fullmatch(r"demo\.[a-z0-9_-]+\.json", file_name(kept))
    keep_only({0}, given)
    assert [path.name for path in tmp_path.glob("candidate_*")] == ["candidate_0"]
