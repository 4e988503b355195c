from tests.captioner.licences import not_allowed, shipped


def test_all_that_the_package_brings_along_may_be_shipped() -> None:
    licences = shipped()
    assert {
        "numpy",
        "openvino",
        "onnxruntime",
        "torch",
        "huggingface-hub",
        "cryptography",
        "ray",
        "pyarrow",
    } <= licences.keys()
    assert not_allowed(licences) == {}


def test_another_licence_is_found() -> None:
    said = {"a": "MIT", "b": "MIT AND GPL-3.0-only", "c": "unknown", "d": "Proprietary"}
    assert not_allowed(said).keys() == {"b", "c", "d"}
