"""Captions put into XMP: read back by another parser, with all else as it was."""

import io
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.captioner.commands.xmp import MOST_ELEMENTS, describes, packet, with_caption

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"
ALTERNATIVE = "{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}AltTextAccessibility"
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
OPENING = '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
DC = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'
SAMPLES = {
    "attributes in one tag": f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="a > b, c /> d">
 {OPENING}
  <rdf:Description rdf:about=''
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
   xmp:Rating = "5"   xmp:Label='a "red" one>'/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""",
    "other languages": f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- kept -->
{OPENING}
  <rdf:Description rdf:about="" {DC}>
   <dc:description>
    <rdf:Alt>
     <rdf:li xml:lang="x-default">old &amp; <![CDATA[<wrong>]]></rdf:li>
     <rdf:li xml:lang="de">ein Hund</rdf:li>
    </rdf:Alt>
   </dc:description>
   <dc:subject><rdf:Bag><rdf:li>dog</rdf:li></rdf:Bag></dc:subject>
  </rdf:Description>
</rdf:RDF>""",
    "no default yet": f"""{OPENING}<rdf:Description rdf:about="" {DC}><dc:description><rdf:Alt>
<rdf:li xml:lang="de">ein Hund</rdf:li>
</rdf:Alt></dc:description></rdf:Description></rdf:RDF>""",
    "empty tags": f"""{OPENING}<rdf:Description rdf:about="" {DC}
 xmlns:i="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/">
<dc:description><rdf:Alt/></dc:description>
<i:AltTextAccessibility><rdf:Alt><rdf:li xml:lang="x-default"/></rdf:Alt></i:AltTextAccessibility>
</rdf:Description></rdf:RDF>""",
    "a text without a language": f"""{OPENING}<rdf:Description rdf:about="" {DC}>
<dc:description>old</dc:description>
</rdf:Description></rdf:RDF>""",
    "no description at all": f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>\r\n{OPENING}\r\n</rdf:RDF>\r\n</x:xmpmeta>\r\n",
    "nothing in it": OPENING.replace(">", "/>"),
    "several": f"""{OPENING}
 <rdf:Description rdf:about="" xmlns:darktable="http://darktable.sf.net/" darktable:history_end="3"/>
 <rdf:Description rdf:about="" {DC}>
  <dc:description><rdf:Alt><rdf:li xml:lang="x-default"> </rdf:li></rdf:Alt></dc:description>
 </rdf:Description>
 <?keep this?>
</rdf:RDF>""",
    "other prefixes": """<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="urn:another">
 <r:Description r:about="" dc:description="not Dublin Core" xmlns:d="http://purl.org/dc/elements/1.1/">
  <d:description><r:Alt><r:li xml:lang="x-default"/></r:Alt></d:description>
 </r:Description>
</r:RDF>""",
}


def said(content: bytes, name: str) -> dict[str, str]:
    """What a property says in each language."""
    [found] = ElementTree.fromstring(content).iter(name)
    return {item.attrib[LANGUAGE]: item.text or "" for item in found.iterfind(f"{RDF}Alt/{RDF}li")}


def all_else(content: bytes) -> str:
    """All but the two properties, in the one form of XML that has no two spellings of the same."""
    written = io.StringIO()
    ElementTree.canonicalize(
        content.decode(), out=written, with_comments=True, strip_text=True, exclude_tags=[DESCRIPTION, ALTERNATIVE]
    )
    return written.getvalue()


@pytest.mark.parametrize("sample", SAMPLES)
def test_only_the_caption_changes(sample: str) -> None:
    before = SAMPLES[sample].encode()
    after = with_caption(before, "a dog & a <cat>")
    assert said(after, DESCRIPTION)["x-default"] == said(after, ALTERNATIVE)["x-default"] == "a dog & a <cat>"
    assert describes(after)
    changed = re.compile(rb"x-default|description>|/>$")  # texts, and tags that are parted
    assert [line for line in before.splitlines() if not changed.search(line) and line not in after] == []
    assert after.count(b"\r\n") == before.count(b"\r\n")
    assert with_caption(after, "a dog & a <cat>") == after
    assert with_caption(with_caption(before, "other"), "a dog & a <cat>") == after


@pytest.mark.parametrize("sample", ["attributes in one tag", "other languages", "several", "other prefixes"])
def test_elements_comments_and_other_properties_are_the_same(sample: str) -> None:
    before = SAMPLES[sample].encode()
    assert all_else(with_caption(before, "a dog")) == all_else(before)


def test_other_languages_stay() -> None:
    for sample in ("other languages", "no default yet"):
        after = with_caption(SAMPLES[sample].encode(), "a dog")
        assert said(after, DESCRIPTION) == {"x-default": "a dog", "de": "ein Hund"}


def test_a_description_counts_if_it_says_something() -> None:
    found = {sample for sample, content in SAMPLES.items() if describes(content.encode())}
    assert found == {"other languages", "no default yet", "a text without a language"}
    attribute = f'{OPENING}<rdf:Description {DC} dc:description="a dog"/></rdf:RDF>'
    assert describes(attribute.encode())


@given(st.text(max_size=30))
def test_any_caption_comes_back_but_for_what_xml_can_not_hold(caption: str) -> None:
    kept = re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", caption)
    kept = re.sub("\r\n?", "\n", kept)  # as every parser of XML reads it
    for content in (packet(caption), with_caption(SAMPLES["several"].encode(), caption)):
        assert said(content, DESCRIPTION) == said(content, ALTERNATIVE) == {"x-default": kept}
    assert packet(caption).startswith('<?xpacket begin="\ufeff"'.encode())
    assert packet(caption).rstrip().endswith(b'<?xpacket end="w"?>')


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no XMP"),
        (b"a text", "is no XMP"),
        (b"<a/>", "it has no rdf:RDF"),
        (SAMPLES["several"].encode()[:-5], "is no XMP"),
        (f"{BOMB}{SAMPLES['several']}".encode(), "it has a document type, which could define entities"),
        (f"<!DOCTYPE a SYSTEM 'file:///a'>{SAMPLES['several']}".encode(), "it has a document type"),
        (SAMPLES["several"].encode("utf-16"), "is no XMP"),
        (f"<?xml version='1.0' encoding='latin-1'?>{SAMPLES['several']}".encode(), "it is in latin-1, not in UTF-8"),
        (SAMPLES["several"].replace("3", "\xe9").encode("latin-1"), "is no XMP"),
        (OPENING.encode() + b"<a/>" * MOST_ELEMENTS + b"</rdf:RDF>", "it has more than 100,000 elements"),
        (f'{OPENING}<rdf:Description {DC} dc:description="a"/></rdf:RDF>'.encode(), "dc:description as an attribute"),
        (SAMPLES["empty tags"].replace("rdf:Alt", "rdf:Bag").encode(), "no list of languages"),
        (SAMPLES["several"].replace('t"> <', 't"><rdf:value>a</rdf:value><').encode(), "a description with parts"),
    ],
)
def test_what_can_not_be_changed_without_a_loss_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        with_caption(content, "a dog")


@given(
    sample=st.sampled_from(sorted(SAMPLES)),
    place=st.integers(0, 900),
    removed=st.integers(0, 20),
    added=st.sampled_from([b"", b"<", b">", b'"', b"&x;", b"<rdf:li>", b"</rdf:Alt>", b"/>", b"]]>", b"\xff", b"<!--"]),
)
@settings(max_examples=300)
def test_damaged_xmp_is_refused_or_holds_the_caption(sample: str, place: int, removed: int, added: bytes) -> None:
    content = SAMPLES[sample].encode()
    damaged = content[:place] + added + content[place + removed :]
    try:
        after = with_caption(damaged, "a dog")
    except ValueError:
        return
    texts = [item.text for item in ElementTree.fromstring(after).iter(f"{RDF}li")]
    assert texts.count("a dog") >= 2
