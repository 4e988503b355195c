from pathlib import Path

from stages.captioner.runtimes.captioner import open_captioner
from stages.captioner.runtimes.decoding import Decoding
from stages.timing.replay import Replay
from tests.conftest import Build
from tests.timing.guesses_worker import answer


def test_guesses_take_fewer_steps_and_say_the_same(build: Build, picture_files: list[Path]) -> None:
    request = {"image": str(picture_files[0]), "decoding": Decoding().exactly(10).model_dump()}
    with open_captioner(build("onnx")) as captioner:
        captioner.parts.drafts = Replay()
        answers = {guesses: answer(captioner.parts, request, guesses) for guesses in (0, 3)}
        assert answers[0]["words"] == answers[3]["words"] and len(answers[0]["words"]) == 10
        assert all(own["seconds"] > 0 for own in answers.values())
        seconds, words = captioner.parts.drafts.pace.seconds, captioner.parts.drafts.pace.words
        assert seconds[True] > 0 and words[True] > 0, "steps with guesses were taken"
