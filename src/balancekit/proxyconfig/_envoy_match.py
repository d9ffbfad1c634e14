"""Matches of Envoy's routes, in the words of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from balancekit.compat._routing import UnsupportedExpressionError, compiled
from balancekit.errors import ConfigurationError
from balancekit.proxyconfig._envoy_decide import header_name
from balancekit.proxyconfig._envoy_message import Message
from balancekit.proxyconfig._re2 import re2_problem

__all__ = ["needed", "read_match", "shown"]

PATHS: Final = ("prefix", "path", "path_separated_prefix")
STRINGS: Final = ("exact", "prefix", "suffix", "contains")
OLD_HEADERS: Final[Mapping[str, str]] = {
    "exact_match": "exact",
    "prefix_match": "prefix",
    "suffix_match": "suffix",
    "contains_match": "contains",
}
PARTS: Final[Mapping[str, int]] = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}
UNMATCHED: Final = "it is taken not to match"


def read_match(match: Message) -> tuple[dict[str, Any], bool]:
    """Return a match in the machine's words, and whether it can be followed."""
    known = True
    found: dict[str, Any] = {}
    for name in PATHS:
        if name in match:
            found[name] = match.text(name)
    stem = found.get("path_separated_prefix")
    if stem is not None and (not stem.startswith("/") or stem.endswith("/") or set(stem) & set("?#")):
        raise match.fail("path_separated_prefix", "a path without a slash at its end is expected")
    if "safe_regex" in match:
        found["safe_regex"] = {"regex": _regex(match)}
    if "path_match_policy" in match:
        template = _path_template(match)
        if template is None:
            match.note("path_match_policy", UNMATCHED)
            known = False
        else:
            found["path_match_policy"] = {"typed_config": {"path_template": template}}
    for name in ("connect_matcher", "grpc", "tls_context", "dynamic_metadata", "filter_state"):
        if name in match:
            match.note(name, UNMATCHED)
            known = False
    if not found and known:
        raise match.notes.error(
            match.line, "prefix, path, path_separated_prefix, safe_regex or the like is expected"
        )
    if len(found) > 1:
        raise match.notes.error(match.line, f"one of {', '.join(found)} is expected")
    if not match.flag("case_sensitive", default=True):
        found["case_sensitive"] = False
    found["headers"] = [_header(one) for one in match.messages("headers")]
    found["query_parameters"] = [_query(one) for one in match.messages("query_parameters")]
    found["cookies"] = [_cookie(one) for one in match.messages("cookies")]
    return found, _always(match) and known


def _path_template(match: Message) -> str | None:
    """Return the template of a path, ``None`` for any other policy."""
    policy = match.message("path_match_policy", neutral=["name"])
    typed = None if policy is None else policy.message("typed_config")
    if typed is None or not typed.type.endswith("UriTemplateMatchConfig"):
        return None
    return typed.text("path_template")


def _header(one: Message) -> dict[str, Any]:
    found: dict[str, Any] = {"name": header_name(needed(one, "name"))}
    one.one_of("string_match", *OLD_HEADERS, "safe_regex_match", "range_match", "present_match")
    if "string_match" in one:
        found["string_match"] = _string(one)
    for name, word in OLD_HEADERS.items():
        if name in one:
            found["string_match"] = {word: _part(one, name, word)}
    if "safe_regex_match" in one:
        found["string_match"] = {"safe_regex": {"regex": _regex(one, "safe_regex_match")}}
    span = one.message("range_match")
    if span is not None:
        whole = {"minimum": -(2**63), "maximum": 2**63 - 1}
        found["range_match"] = {
            "start": span.whole("start", 0, **whole),
            "end": span.whole("end", 0, **whole),
        }
    if "present_match" in one:
        found["present_match"] = one.flag("present_match")
    found["invert_match"] = one.flag("invert_match")
    found["treat_missing_header_as_empty"] = one.flag("treat_missing_header_as_empty")
    return found


def _query(one: Message) -> dict[str, Any]:
    found: dict[str, Any] = {"name": needed(one, "name")}
    one.one_of("string_match", "present_match")
    if "string_match" in one:
        found["string_match"] = _string(one)
    elif "present_match" in one:
        found["present_match"] = one.flag("present_match")
    return found


def _cookie(one: Message) -> dict[str, Any]:
    name = needed(one, "name")
    if "string_match" not in one:
        raise one.notes.error(one.line, "string_match is expected")
    return {"name": name, "string_match": _string(one), "invert_match": one.flag("invert_match")}


def _always(match: Message) -> bool:
    """Whether a match holds for all of its requests, according to ``runtime_fraction``."""
    fraction = match.message("runtime_fraction", neutral=["runtime_key"])
    if fraction is None:
        return True
    value = fraction.message("default_value")
    if value is None:
        return True
    some = value.whole("numerator", 0)
    whole = PARTS[value.choice("denominator", PARTS, "HUNDRED")]
    if 0 < some < whole:
        match.note("runtime_fraction", "it is taken to match always")
    return some > 0


def needed(one: Message, name: str) -> str:
    found = one.text(name)
    if not found:
        raise one.notes.error(one.line, f"{name} is expected")
    return found


def _regex(one: Message, name: str = "safe_regex") -> str:
    inner = one.message(name, neutral=["google_re2"])
    if inner is None:
        return ""
    expression = inner.text("regex")
    problem = re2_problem(expression, limited=inner.notes.limited)
    if problem:
        raise inner.fail("regex", f"{expression!r:.200}: {problem}")
    try:
        compiled("regex", expression)
    except UnsupportedExpressionError:
        inner.note("regex", "it has what Python's expressions have not: it is taken not to match")
        return "(?!)"
    except ConfigurationError:
        pass  # what is no expression is refused where the rule is made
    return expression


def _string(one: Message) -> dict[str, Any]:
    inner = one.message("string_match", ignored={"custom": "it is taken not to match"})
    if inner is None:
        raise AssertionError(one)
    inner.one_of(*STRINGS, "safe_regex", "custom")
    if "safe_regex" in inner:
        if inner.flag("ignore_case"):
            raise inner.fail("ignore_case", "this is not for safe_regex, write (?i) in the expression")
        return {"safe_regex": {"regex": _regex(inner)}}
    for name in STRINGS:
        if name in inner:
            return {name: _part(inner, name, name), "ignore_case": inner.flag("ignore_case")}
    raise inner.notes.error(inner.line, "exact, prefix, suffix, contains or safe_regex is expected")


def _part(one: Message, name: str, kind: str) -> str:
    """Return the text of a matcher; only ``exact`` may be empty."""
    return one.text(name) if kind == "exact" else needed(one, name)


def shown(words: Mapping[str, Any]) -> str:
    """Return a match in words."""
    shown = []
    for name, value in words.items():
        if name in PATHS:
            shown.append(f"{name} {value}")
        elif name == "safe_regex":
            shown.append(f"regex {value['regex']}")
        elif name == "headers" and value:
            shown.append("headers " + ", ".join(one["name"] for one in value))
        elif name == "query_parameters" and value:
            shown.append("query " + ", ".join(one["name"] for one in value))
        elif name == "cookies" and value:
            shown.append("cookies " + ", ".join(one["name"] for one in value))
    return " ".join(shown) or "any"
