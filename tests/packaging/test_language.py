"""The vocabulary: names that are retired, words that are for people only, and the form of first lines."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "balancekit").rglob("*.py"))
PAGES = [
    ROOT / "README.md",
    *[
        page
        for page in sorted((ROOT / "docs").rglob("*.md"))
        if page.relative_to(ROOT / "docs").parts[0] not in {"_build", "changelog.d", "decisions"}
    ],
]
"""Records of decisions and fragments of the changelog tell of the past, in its words."""

SCENARIOS = sorted((ROOT / "src" / "balancekit").rglob("*.toml"))

RETIRED = {
    "": "Keeper Hearing _Thorough Hot Busy Details Verdict SupportsVerdicts SupportsAccusation SupportsPardon "
    "CircuitBreaker read_out accuse pardon forgive Ladder Climber Lots drawer thinned held_back _instead "
    "Belief Timetable Dialogue Follower Calling AsyncCalling BadListError SystemAddresses DnsAddresses "
    "DnsServices FileTargets HttpTargets Children Tally Report Carrier CarrierOptions Inners Judgement "
    "Again read_ahead read_ahead_async StaggeredTurns SmoothTurns",
    "adapters": "Places Place",
    "checks": "Finding Watch",
    "discovery": "Static",
    "hashing": "Structure bound nobody",
    "health": "Survey",
    "selectors": "Random Turns Lap draw lots",
    "sim": "Line Sharing Delay Pace Sink World Log Always Callers shipped jain",
    "balancer": "tell report order observe subscribe",
}
"""Names of classes, functions and methods by the package in which nothing may be called so; everywhere if none."""
RETIRED_MODULES = (
    "_wishes _places _ahead _carrier _inner _rules _words _lane _run _station _sink _world _log _measures _ladder "
    "_stagger _smooth _draws _many _populate _survey _watch _finding _deep _follow _parts _tally "
    "_gates _fakes _subjects _verdict _breaker readout pool"
)
RETIRED_CONSTANTS = (
    "MOST LONGEST SMALL FEW SPARE ENOUGH FRESH SHOWN SKIPPED UNTRIED PATIENCE TURNED_AWAY LONG_AGO UNHEARD NOWHERE "
    "ORDINARY TOGETHER"
)

SUPERLATIVES = re.compile(
    r"(MOST|LEAST|LONGEST|SHORTEST|LARGEST|SMALLEST|HIGHEST|LOWEST|HEAVIEST|LIGHTEST|MAXIMUM|MINIMUM)(?!_REQUEST)(_|$)"
)
"""How constants begin that are to begin with ``MAX_`` or ``MIN_``; ``LEAST_REQUEST`` is a name of Envoy."""

PEOPLE_WORDS = re.compile(r"\b(nobody|somebody|everybody|anybody|whoever|whomever|whom)\b", re.IGNORECASE)
WHO = re.compile(r"\bwho\b", re.IGNORECASE)
PEOPLE = re.compile(
    r"\b(attackers?|authors?|callers?|clients?|developers?|engineers?|operators?|people|persons?|readers?|users?)\b",
    re.IGNORECASE,
)
PHRASES = re.compile(r"\b(fast lanes?|general way|general lane|by lot|anew)\b", re.IGNORECASE)
SPEECH = re.compile(r"\b(tell|tells|told|telling|ask|asks|asked|asking)\b", re.IGNORECASE)
"""Things do not talk: they receive, report, emit, notify, query, check, call, request."""
CODE = re.compile(r"^```.*?^```|`+[^`]*`+", re.MULTILINE | re.DOTALL)
"""Blocks and names of code, which may have names that are public."""
CONTINUATION = re.compile(r"(Also|And|But|Each by|Each from|Nor|Not|Or|Rather|So|Unless)\b")
"""How a docstring begins that is half a sentence; the other half would be the name of its test."""
REACH = 60
"""Characters before ``who`` within which the people must be named."""


def defined(tree):
    """Yield the names of classes, functions and methods of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def constants(tree):
    """Yield the names that a module assigns at its top."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name):
                yield target.id


def prose(path):
    """Return what a reader of a file reads: comments and texts of a module, all of a page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    kinds = (tokenize.COMMENT, tokenize.STRING)
    return "\n".join(
        token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type in kinds
    )


def misused(text):
    """Return words of people that are said of things, and phrases that have a better form."""
    found = [match.group() for match in PEOPLE_WORDS.finditer(text)]
    found += [match.group() for match in PHRASES.finditer(text)]
    for match in WHO.finditer(text):
        before = text[max(0, match.start() - REACH) : match.start()]
        if not PEOPLE.search(before):
            found.append(" ".join(f"{before[-30:]}{text[match.start() : match.end() + 20]}".split()))
    return found


def spoken(text):
    """Return words of speech that are said of things."""
    plain = CODE.sub(" ", text)
    return [
        " ".join(plain[max(0, match.start() - 30) : match.end() + 20].split())
        for match in SPEECH.finditer(plain)
        if not PEOPLE.search(plain[max(0, match.start() - REACH) : match.start()])
    ]


def test_no_definition_has_a_retired_name():
    """No class, function or method of the library has a name that the vocabulary has replaced."""
    found = []
    for path in SOURCES:
        package = path.relative_to(ROOT / "src" / "balancekit").parts[0].removesuffix(".py")
        retired = {*RETIRED[""].split(), *RETIRED.get(package, "").split()}
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [f"{path.name}: {name}" for name in defined(tree) if name in retired]
        found += [
            f"{path.name}: {name}"
            for name in constants(tree)
            if name in RETIRED_CONSTANTS.split() or SUPERLATIVES.match(name)
        ]
    assert found == []


def test_no_name_says_words_of_people_of_things():
    """No class, function, method, variable or attribute of the library is called nobody, anybody and the like."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node, "name", None) or getattr(node, "attr", None) or getattr(node, "id", None)
            if isinstance(name, str) and PEOPLE_WORDS.search(name.replace("_", " ")):
                found.append(f"{path.name}:{node.lineno}: {name}")
    assert found == []


def test_tests_say_no_words_of_people_of_things():
    """Names of tests, of what they define, and their docstrings do not say nobody, anybody and the like."""
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            name = getattr(node, "name", "").replace("_", " ")
            if path != Path(__file__) and PEOPLE_WORDS.search(f"{name}\n{ast.get_docstring(node) or ''}"):
                found.append(f"{path.name}: {name or 'the module'}")
    assert found == []


def test_tests_state_their_requirement_in_full():
    """No docstring of a test begins with a word that goes on where its name ends."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("test_") and CONTINUATION.match(ast.get_docstring(node) or ""):
                found.append(f"{path.name}:{node.lineno}: {node.name}")
    assert found == []


def test_no_module_has_a_retired_name():
    """No module of the library has a name that the vocabulary has replaced."""
    assert [path.name for path in SOURCES if path.stem in RETIRED_MODULES.split()] == []


@pytest.mark.parametrize("path", [*SOURCES, *PAGES, *SCENARIOS], ids=lambda path: str(path.relative_to(ROOT)))
def test_things_are_things(path):
    """Words for people are said of people only, and retired phrases do not occur."""
    assert misused(prose(path)) == []


@pytest.mark.parametrize("path", [*SOURCES, *PAGES, *SCENARIOS], ids=lambda path: str(path.relative_to(ROOT)))
def test_things_do_not_talk(path):
    """People tell and ask; things receive, report, notify, query, check, call and request."""
    assert spoken(prose(path)) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("the resolver is asked", True),
        ("Tell the load how it ended.", True),
        ("a caller that asks twice", False),
        ("``StoreCore.ask`` and `ask`", False),
        ("```python\nask()\n```", False),
    ],
)
def test_the_check_of_speech_finds_what_it_is_for(text, wrong):
    """A word of speech is found when it is said of a thing, and not in code or when it is said of people."""
    assert bool(spoken(text)) is wrong


def test_first_lines_name_the_thing():
    """No first line of a docstring is a question."""
    found = []
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                first = (ast.get_docstring(node) or "").split("\n")[0]
                if "?" in first and "://" not in first:
                    found.append(f"{path.name}: {first}")
    assert found == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("nobody answers", True),
        ("the endpoint who fails", True),
        ("a caller who waits", False),
        ("by lot", True),
        ("made anew", True),
        ("in the lots of it", False),
    ],
)
def test_the_check_finds_what_it_is_for(text, wrong):
    """A word for people is found when it is said of a thing, and not when it is said of people."""
    assert bool(misused(text)) is wrong
