"""Envoy's match of cookies in a route, as observed on a running server."""

from __future__ import annotations

import pytest

from balancekit import ConfigurationError
from balancekit.compat._routing import RawRequest
from balancekit.compat.envoy import RouteConfig

SID_A = {"name": "sid", "string_match": {"exact": "a"}}
B_X = {"name": "b", "string_match": {"prefix": "x"}}

OBSERVED = [
    (SID_A, [], 0),
    (SID_A, ["sid=a"], 1),
    (SID_A, ["sid=b"], 0),
    (SID_A, ["x=1; sid=a"], 1),
    (SID_A, ["x=1;sid=a"], 1),
    (SID_A, ["x=1, sid=a"], 0),
    (SID_A, ["sid=b; sid=a"], 0),
    (SID_A, ["sid=a; sid=b"], 1),
    (SID_A, ["x=1", "sid=a"], 1),
    (SID_A, ["sid=b", "sid=a"], 0),
    (SID_A, ["sid=a", "sid=b"], 1),
    (SID_A, ['sid="a"'], 1),
    (SID_A, ["sid=a "], 1),
    (SID_A, ["sid= a"], 0),
    (SID_A, ["sid =a"], 0),
    (SID_A, ["SID=a"], 0),
    (SID_A, ["sid=a;"], 1),
    (SID_A, [";sid=a"], 1),
    (SID_A, ["sid"], 0),
    (SID_A, ["xsid=a"], 0),
    (SID_A, ['sid="a'], 0),
    (SID_A, ['sid=a"'], 0),
    (SID_A, ["sid=\ta"], 0),
    (SID_A, ["\tsid=a"], 1),
    (SID_A, ['sid=""a""'], 0),
    (SID_A | {"invert_match": True}, [], 1),
    (SID_A | {"invert_match": True}, ["sid=a"], 0),
    (SID_A | {"invert_match": True}, ["sid=b"], 1),
    (SID_A | {"invert_match": True}, ["x=1"], 1),
    ({"name": "sid", "string_match": {"exact": "a", "ignore_case": True}}, ["sid=A"], 1),
    (SID_A | {"name": "SID"}, ["sid=a"], 0),
    (SID_A | {"name": "SID"}, ["SID=a"], 1),
    ({"name": "sid", "string_match": {"safe_regex": {"regex": "a+"}}}, ["sid=aaa"], 1),
    ({"name": "sid", "string_match": {"safe_regex": {"regex": "a+"}}}, ["sid=aab"], 0),
    ({"name": "sid", "string_match": {"exact": ""}}, [], 0),
    ({"name": "sid", "string_match": {"exact": ""}}, ["sid="], 1),
    ({"name": "sid", "string_match": {"exact": ""}}, ["sid"], 0),
    ({"name": "sid", "string_match": {"exact": ""}}, ['sid=""'], 1),
    ({"name": "sid", "string_match": {"exact": ""}}, ["x=1"], 0),
    ({"name": "sid", "string_match": {"exact": ""}}, ['sid="'], 0),
    ({"name": "sid", "string_match": {"exact": '"a"'}}, ['sid="a"'], 0),
    ({"name": "sid", "string_match": {"exact": "a=b"}}, ["sid=a=b"], 1),
    ({"name": "sid", "string_match": {"exact": "a "}}, ["sid=a "], 0),
    ({"name": "sid", "string_match": {"exact": "a "}}, ['sid="a "'], 1),
]
"""A matcher, the Cookie headers of a request, and whether Envoy 1.40.0 took the route."""


def routed(cookies, headers):
    """Return the pool that a route with cookie matchers gives a request."""
    routes = [
        {"match": {"prefix": "/", "cookies": cookies}, "action": {"pool": "matched"}},
        {"match": {"prefix": "/"}, "action": {"pool": "other"}},
    ]
    table = RouteConfig([{"name": "all", "domains": ["*"], "routes": routes}])
    return table.route(RawRequest(headers=tuple([("Cookie", value) for value in headers]), host="h")).pool


@pytest.mark.parametrize(("matcher", "headers", "taken"), OBSERVED, ids=str)
def test_a_cookie_matches_as_in_envoy(matcher, headers, taken):
    """The first cookie of a name counts, without the quotes around it; a missing one matches only an inverted matcher."""
    assert routed([matcher], headers) == ("matched" if taken else "other")


@pytest.mark.parametrize(
    ("headers", "taken"),
    [(["sid=a"], 0), (["sid=a; b=xy"], 1), (["b=xy"], 0), (["sid=a", "b=x"], 1)],
    ids=str,
)
def test_all_matchers_of_cookies_hold(headers, taken):
    """A route with several matchers of cookies is taken if all hold, as observed on Envoy 1.40.0."""
    assert routed([SID_A, B_X], headers) == ("matched" if taken else "other")


def test_a_matcher_without_a_pattern_is_refused():
    """A string match without a pattern raises ConfigurationError, as Envoy refuses its configuration."""
    with pytest.raises(ConfigurationError, match="string_match"):
        routed([{"name": "sid", "string_match": {}}], [])
