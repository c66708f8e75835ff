"""The fine pass against its plain twin, on texts made of what logs hold, and on any others."""

import json
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.plain_masking import DAYS, LITERALS, MONTHS, SIZES, TOP_DOMAINS, UNITS, WORDING_KEYS, ZONES, fine_twin, plain_pattern
from treering_runtime.patterns import find_patterns
from treering_runtime.patterns.fine import mask_fine


def listed(text: str, gap: str | None = None) -> list[str]:
    return text.split(gap)


WORDS = listed(
    "the retry of payment was refused Then we waited army pump or and not to by in on May user_id web-prod don't it's Option::None"
)
KEYS = listed(
    "user uid path err_msg errorMessage HTTPStatus ERR_STATUS errorMSG newState country_code serviceKind http.status db.Kind @ts a:b x/y"
    " _ a_b Xcode"
)
NUMBERS = listed("7 -12 +3 1.5 0x1f 1,024 <1 5(7) 3% 17:04:05 2023-05-12 2023-05-12T10:00:01.5Z 12-May")
NEAR_NUMBERS = listed("sec. days, p.m. a.m p.m.x AM, h=2 s= s.x s<x ms<*> B/x KB/x KB/sx days-old %d Mayor Jan. Jan{ Monday Mon")
IDENTIFIERS = listed(
    "deadbeefcafe DEADBEEF deadBEEF facade ABCDEFA abcdefab, dead:beef::1 aa:bb:cc:dd:ee:ff AA-BB-CC-DD-EE-FF aa:bb-cc:dd:ee:ff"
    " aa:bb:cc:dd:ee"
    " 10.0.0.7:8080. ::1 fe80::1%eth0 6f1c2a7e-9b1d-4c55-8a3e-5d0b1c2d3e4f blk_-498 aGk= dGVzdD8== aGk=== user7=ann. a1=b: web1#x."
)
PLACES = listed(
    "/ /var/log/app.log: /tmp a/b and/or a.b/c ~/x x~/y ./run.sh src/main.c:12 /a?b=c& /x? ?q=1 http://shop.example/cart?x=y. ftp://h https://"
    " C:\\x\\y.dll \\\\share\\dir a\\b ab\\cd ab\\nd a\\\\b a\\b\\c x:\\y \\w\\ a/b\\c\\d db.internal web.prod.x.org a.b.de b.de www.x.Com"
    " ann@x.org"
    " localhost localhost:80 mylocalhost:80 localhost:80/x 用localhost:8 a@b java.lang.Error Cart.add() main.go a?b=c&d=e"
)
LITERAL_FORMS = listed("undefined, NaN. left:None é:true ::true x:y:false, () foo() (), 状态true 提交deadbeefcafe")
DATES = listed(
    "Fri, 12 May 2023|Jan 5|Jan, 5|(Jan 5)|[Sun Dec 04|Sept 9,|5 Jan.|5 June|5 Mayor|Mon 5|Monday, March 3|May-5|Date:Jul 4", "|"
)
ODD = [
    *listed("用户 登录失败\uff0c 사용자123을 ไทย7 é µs 🙂 \u0661 ² \x00 \x1b[31m \x1b[0m \\ \\\" \\'"),
    *"\x85\u2028\u3000\x1c\n",
    "\\\n",
]
MARKS = [*" \t\n\"'`(){}[]<>,;:=|/\\.!?-_@&#%*~", *listed("<*> -> => =~ == ... :: <<*> <*>> ': \": =' =\""), ", "]
FORMS = WORDS + KEYS + NUMBERS + NEAR_NUMBERS + IDENTIFIERS + PLACES + LITERAL_FORMS + DATES + ODD
WORDS_OF_RULES = LITERALS | WORDING_KEYS | UNITS | ZONES | MONTHS | {"x." + name for name in TOP_DOMAINS} | {day + "May" for day in DAYS}
FRAMES = listed(
    "{}|7 {}|7, {}.|7[{}]|7{{}}|({} 7)|[{}, 7|{} 7 {}|{}: x|{},7|{}(7)|({})|<{}>|x:{}|x{}|x\t{}"
    "|user={}|msg={}|a={},b={}.|msg=x={}|a=<{}>|a=~{}|a={}|{}=x|{}=x=7|/x?{}=x|({}=x)|'{}'=x|x{}=x|&{}=x"
    "|user=\"{}\"|user='{}'|{}=\"x y\"|({}='x y'|'{}'|\"{}\"|`{}`|'{}':|x'{}'|='{}'x|\"{}\\n"
    "|\"{}\": \"x y\"|\"{}\" : x|\"a\":{}|\"a\":\"{}|\"a\":\"\\\"{}\"|{'{}': x}|{'a': '{}', 'b': 'x y'|{'a': {}\n}|x 'a': '{}'"
    "|,'a':  'x{}' y"
    "|http://{}|ftp://x{}/y|/x{}?y|x7/{}|x7={}|x7.{}.|{}7|用{}|{}用|{}/x|/{}|{}\\x|{}.x|{}@x.|a.{}|~{}:!",
    "|",
)

atom = st.sampled_from(FORMS) | st.sampled_from(WORDS + NUMBERS) | st.sampled_from(sorted(WORDS_OF_RULES))
word, key, number, mark = map(st.sampled_from, (WORDS, KEYS + sorted(WORDING_KEYS), NUMBERS, MARKS))
unit = st.sampled_from(NEAR_NUMBERS + sorted(ZONES)) | st.sampled_from(sorted(UNITS))
glue = st.sampled_from([" ", " ", " ", " ", "", ", ", ",", ": ", ":", "; ", "|", " - ", "-", "/", "=", "\n", "\t", "  ", " | "])


def joined(parts: st.SearchStrategy[Any | str], between: st.SearchStrategy[str | Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.tuples(parts, between), min_size=1, max_size=6).map(lambda pairs: "".join(part + gap for part, gap in pairs))


def wrapped(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    ends = st.sampled_from(
        ['""', "''", "``", "()", "[]", "{}", "<>", ("=<", ">"), ('"', ""), ("'", "',"), ('("', '")'), ("{'a': ", "}"), ('"a":"', '"')]
    )
    return st.builds(lambda pair, text: pair[0] + text + pair[1], ends, parts)


def fields(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Pairs of every kind: `key=value` with and without quotes, `key: value`, members of JSON and of a printed dict."""
    forms = listed(
        "{0}={1}|{0}={1},|{0}={1}.|{0}=|{0}:{1}|{0}: {1}|{0} = {1}|&{0}={1}|{0}=\"{1}\"|{0}='{1}'|\"{0}\":\"{1}\"|'{0}': '{1}'", "|"
    )
    return st.builds(lambda form, name, value: form.format(name, value), st.sampled_from(forms), key, parts)


def documents(parts: st.SearchStrategy[Any | str]) -> st.SearchStrategy[Any]:
    value = st.recursive(
        parts | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(key, inner, max_size=3),
        max_leaves=6,
    )
    written = st.sampled_from(
        [json.dumps, lambda members: json.dumps(members, separators=(",", ":")), repr, lambda members: json.dumps(members)[:-5]]
    )
    return st.builds(lambda write, members: write(members), written, st.dictionaries(key | parts, value, max_size=4))


quantity = st.builds(lambda amount, gap, name: amount + gap + name, number, st.sampled_from([" ", " ", ""]), unit)
simple = atom | quantity | joined(word, st.just(" "))
nested = st.recursive(
    simple, lambda inner: wrapped(inner) | fields(inner) | joined(inner, glue) | joined(number | inner, glue), max_leaves=8
)
logs = joined(nested | documents(simple), glue | mark)
dense = st.lists(mark | st.sampled_from(["a", "7", "us", "msg", "user", " ", "<*>"]), max_size=16).map("".join)
anything = st.text(max_size=30)
texts = logs | joined(atom | mark | unit | anything, glue | mark) | dense | anything


@settings(max_examples=300, deadline=None)
@given(texts)
def test_a_message_agrees_with_the_twin(message: str) -> None:
    assert find_patterns(pa.array(["web"]), pa.array([message])).texts.to_pylist() == [plain_pattern(message)]


@settings(max_examples=300, deadline=None)
@given(texts)
def test_a_text_that_holds_masks_agrees_with_the_twin(text: str) -> None:
    coarse = text.replace("7", "<*>")
    assert mask_fine.__wrapped__(coarse) == fine_twin(coarse)


def test_each_form_in_each_place_agrees_with_the_twin() -> None:
    """What chance might seldom put together."""
    sizes = [f"7 {size}" for size in SIZES]
    messages = [frame.replace("{}", form) for form in [*FORMS, *sorted(WORDS_OF_RULES - SIZES)] for frame in FRAMES] + sizes
    found = find_patterns(pa.array(["web"] * len(messages)), pa.array(messages))
    texts_by_id = dict(zip(found.distinct_ids.to_pylist(), found.texts.to_pylist(), strict=True))
    products = [texts_by_id[identity] for identity in found.pattern_ids.to_pylist()]
    assert [text for text, product in zip(messages, products, strict=True) if product != plain_pattern(text)] == []
