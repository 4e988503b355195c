import re
import unicodedata
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from tokenizers import decoders, normalizers, pre_tokenizers

from stages.scoring.quality import estimate_bleu_4, score_per_image, words

REFERENCES = [
    ["a man rides a horse on the beach", "there is a man on a horse at the beach"],
    ["a red car next to a house", "a car parked beside a small house"],
    ["two dogs play in the snow", "dogs in the snow at night"],
]
word = st.sampled_from(["a", "man", "red", "car", "dog", "on", "the", "beach", "snow"])
sentence = st.lists(word, min_size=1, max_size=9).map(" ".join)
corpus = st.lists(st.tuples(sentence, st.lists(sentence, min_size=1, max_size=3)), min_size=2, max_size=6)


@given(corpus)
def test_bleu_4_is_the_librarys(pairs: list[tuple[str, list[str]]]) -> None:
    captions, references = [caption for caption, _ in pairs], [own for _, own in pairs]
    expected, _ = Bleu(4).compute_score(
        dict(enumerate(references)), {image: [caption] for image, caption in enumerate(captions)}, verbose=0
    )
    assert estimate_bleu_4(captions, references, 100).value == pytest.approx(expected[3], abs=1e-9)


@given(corpus)
def test_scores_stay_within_their_bounds(pairs: list[tuple[str, list[str]]]) -> None:
    captions, references = [caption for caption, _ in pairs], [own for _, own in pairs]
    scores = score_per_image(captions, references)
    cider, rouge = scores["cider"], scores["rouge_l"]
    assert cider.shape == rouge.shape == (len(captions),)
    assert (cider >= 0).all()
    assert (cider <= 10 + 1e-9).all()
    assert (rouge >= 0).all()
    assert (rouge <= 1 + 1e-9).all()


def test_a_reference_beats_a_caption_of_something_else() -> None:
    right, wrong = [own[0] for own in REFERENCES], [REFERENCES[1][0]] * 3
    good, bad = (score_per_image(captions, REFERENCES) for captions in (right, wrong))
    for metric in ("cider", "rouge_l", "exact_match"):
        assert good[metric].mean() > bad[metric].mean()
    assert good["exact_match"].tolist() == [1, 1, 1]
    good_bleu, bad_bleu = (estimate_bleu_4(captions, REFERENCES, 200) for captions in (right, wrong))
    assert good_bleu.value > bad_bleu.value
    assert bad_bleu.low <= bad_bleu.value <= bad_bleu.high


def test_case_and_punctuation_do_not_count() -> None:
    assert words("A man's dog, in the Park!") == "a man's dog in the park"
    captions = [REFERENCES[0][1], "a car", "Dogs in the snow, at night."]
    assert score_per_image(captions, REFERENCES)["exact_match"].tolist() == [1, 0, 1]


# References as people of all languages write them, and captions as captioners say them

WORLD = [
    "一只棕色的狗在雪地里奔跑。",
    "两个人，骑着3匹马！",
    "犬がサーフボードに乗っている",
    "눈밭에서 개 두 마리가 놀고 있다",
    "एक आदमी घोड़े की सवारी कर रहा है",
    "একজন লোক ঘোড়ায় চড়ছে সৈকতে",
    "ผู้ชายคนหนึ่งกำลังขี่ม้า",
    "ຜູ້ຊາຍຂີ່ມ້າ",
    "បុរសម្នាក់ជិះសេះ",
    "လူတစ်ယောက် မြင်းစီးနေသည်",
    "رَجُلٌ يركبُ حصانًا على الشاطئ",
    "مردی که اسب می\u200cراند",
    "גבר רוכב על סוּס בחוף",
    "Un garçon mange une crème brûlée à l'école",
    "Ein großer Hund läuft über die Straße",
    "İki köpek karda oynuyor, ILIK bir gün",
    "Người đàn ông cưỡi ngựa trên bãi biển",
    "Ο άνδρας κάθεται στους δρόμους",
    "Хлопчик тримає м'яч і йде додому",
    "A man's dog doesn't like the dogs' bowl at 5 o'clock, it's a 'stop' sign",
    "A T-shirt costs 3.50 €, or 25 % less 🏄",
]
NORMALIZERS = {
    "blip": normalizers.BertNormalizer(),
    "accents": normalizers.BertNormalizer(strip_accents=False),
    "cased": normalizers.BertNormalizer(lowercase=False, strip_accents=False),
}


def said(text: str, normalizer: str) -> str:
    """A text as a captioner with a tokenizer of BERT's kind says it, if its vocabulary has all of its words."""
    words = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(NORMALIZERS[normalizer].normalize_str(text))
    return str(decoders.WordPiece(prefix="##", cleanup=True).decode([word for word, _ in words])).strip()


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_a_perfect_caption_is_perfect_in_every_language(normalizer: str) -> None:
    captions, references = [said(line, normalizer) for line in WORLD], [[line] for line in WORLD]
    scores = score_per_image(captions, references, NORMALIZERS[normalizer].normalize_str)
    assert dict(zip(WORLD, scores["exact_match"], strict=True)) == dict.fromkeys(WORLD, 1)
    assert dict(zip(WORLD, scores["cider"].round(6), strict=True)) == dict.fromkeys(WORLD, 10)
    assert scores["rouge_l"] == pytest.approx(1)
    assert estimate_bleu_4(captions, references, 100, NORMALIZERS[normalizer].normalize_str).value == pytest.approx(1)


def test_captions_of_blip_need_no_normalizer() -> None:
    scores = score_per_image([said(line, "blip") for line in WORLD], [[line] for line in WORLD])
    assert scores["exact_match"].all()


@pytest.mark.parametrize("line", ["एक घोड़े", "año nuevo", "ผู้ชาย"])
def test_an_accent_that_a_captioner_can_say_counts(line: str) -> None:
    plain = normalizers.BertNormalizer().normalize_str(line)
    assert words(line) == words(plain)
    assert words(line, NORMALIZERS["accents"].normalize_str) != words(plain, NORMALIZERS["accents"].normalize_str)


def widened(text: str) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)


# The same text, written otherwise.
FORMS: dict[str, Callable[[str], str]] = {
    "composed": lambda text: unicodedata.normalize("NFC", text),
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "compatible": lambda text: unicodedata.normalize("NFKD", text),
    "curly apostrophes": lambda text: text.replace("'", "’"),
    "letters for apostrophes": lambda text: text.replace("'", "ʼ"),
    "accents for apostrophes": lambda text: text.replace("'", "´"),
    "curly quotes": lambda text: f"“{text}”",
    "guillemets": lambda text: f"« {text} »",
    "other blanks": lambda text: text.replace(" ", "\u00a0"),
    "narrow blanks": lambda text: text.replace(" ", "\u202f"),
    "wide letters": widened,
    "a byte-order mark": lambda text: f"\ufeff{text}",
    "marks of direction": lambda text: f"\u200f{text}\u200e",
    "soft hyphens": lambda text: re.sub(r"(\w)(\w)", "\\1\u00ad\\2", text),
    "joiners": lambda text: re.sub(r"(\w)(\w)", "\\1\u200d\\2", text),
    "stretched": lambda text: re.sub("([\u0628-\u063a])([\u0628-\u063a])", "\\1\u0640\\2", text),
    "an emoji": lambda text: f"{text} ❤\ufe0f 👩🏽\u200d🚀",
    "a full stop": lambda text: f"{text} .",
    "upper case": str.upper,
    "lower case": str.lower,
}


@given(st.lists(st.sampled_from(WORLD), min_size=3, max_size=5, unique=True), st.sampled_from(list(FORMS)), st.data())
@settings(max_examples=300)
def test_how_a_text_is_written_changes_no_score(lines: list[str], form: str, data: st.DataObject) -> None:
    normalizer = data.draw(st.sampled_from(list(NORMALIZERS)))
    normalize, other = NORMALIZERS[normalizer].normalize_str, [FORMS[form](line) for line in lines]
    for captions, references in ((other, lines), (lines, other)):
        scores = score_per_image(captions, [[reference] for reference in references], normalize)
        assert scores["exact_match"].tolist() == [1] * len(lines)
        assert scores["cider"] == pytest.approx([10] * len(lines))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A dog’s bowl", "a dog's bowl"),
        ("a dog ’ s bowl", "a dog's bowl"),
        ("they don ' t", "they don't"),
        ("5 o'clock, y'all", "5 o'clock y'all"),
        ("the dogs' bowl", "the dogs bowl"),
        ("the dogs'bowl", "the dogs bowl"),
        ("a sign says 'stop' here", "a sign says stop here"),
        ("t-shirt_3.5", "t shirt 3 5"),
        ("lego™ bricks", "lego bricks"),
        ("25 ℃", "25 c"),
        ("3只狗", "3 只 狗"),
        ("ｶﾞｽ カータ", "カ ス カ ー タ"),
        ("❤️ 🏄", ""),
    ],
)
def test_words_of_a_caption(caption: str, expected: str) -> None:
    assert words(caption) == expected


@given(st.lists(st.text(alphabet='aibcdz ,.-!?"3', max_size=8), max_size=9).map(" ".join))
def test_plain_english_has_the_words_it_always_had(text: str) -> None:
    assert words(text) == " ".join(re.findall("[a-z0-9]+", text.lower()))


@given(st.text())
def test_any_text_has_words_and_they_are_their_own(text: str) -> None:
    assert words(words(text)) == words(text)


def test_a_caption_without_a_word_matches_nothing() -> None:
    scores = score_per_image(["", "🏄", "a dog"], [["🏄"], ["..."], ["a dog"]])
    assert scores["exact_match"].tolist() == [0, 0, 1]
    assert np.isfinite([*scores["cider"], *scores["rouge_l"]]).all()


def test_an_empty_caption_scores_nothing() -> None:
    captions = ["", "", ""]
    assert all(not scores.any() for scores in score_per_image(captions, REFERENCES).values())
    assert estimate_bleu_4(captions, REFERENCES, 100).value == pytest.approx(0, abs=1e-9)
