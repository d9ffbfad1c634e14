"""Routing as nginx, HAProxy, Envoy and the Gateway API do it: the rules that the traces show, one by one."""

from __future__ import annotations

import random
import string

import pytest

from balancekit.compat import envoy, gateway, haproxy, nginx
from balancekit.compat._routing import compiled
from balancekit.compat.nginx import RawRequest
from balancekit.errors import ConfigurationError


def asked(target="/", host="shop.test", **options):
    """Return a request with a Host header."""
    headers = tuple(options.pop("headers", {}).items())
    return RawRequest(target=target, host=host, headers=headers, **options)


def locations(*rules, **options):
    """Return one nginx server with locations written as ``(modifier, pattern, pool, nested...)``."""

    def written(rule):
        modifier, pattern, pool, *nested = rule
        return {
            "modifier": modifier,
            "pattern": pattern,
            "pool": pool,
            "locations": [written(one) for one in nested],
        }

    return nginx.Locations(
        [{"names": ["shop.test"], "locations": [written(rule) for rule in rules]}], **options
    )


class TestNginx:
    """``server`` and ``location``."""

    @pytest.mark.parametrize(
        ("target", "pool"),
        [
            ("/a", "exact"), ("/a/b", "prefix"), ("/a/b.php", "regex"), ("/img/x.php", "silent"), ("/x/y/z", "inner"),
            ("/x/y.php", "regex"), ("/x/y/q.php", "inner regex"), ("/none", None),
        ],
    )  # fmt: skip
    def test_order(self, target, pool):
        """Locations are tried in the order of nginx.

        It is ``=``, nested ones, expressions unless ``^~``, then the longest prefix.
        """
        table = locations(
            ("=", "/a", "exact"), ("", "/a", "prefix"), ("~", r"\.php$", "regex"), ("^~", "/img", "silent"),
            ("", "/x", "outer", ("", "/x/y/", "inner", ("~", r"q\.php$", "inner regex"))),
        )  # fmt: skip
        assert table.route(asked(target)).pool == pool

    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            (asked(method="get"), 400), (asked(method="G1"), 400), (asked(method="M-SEARCH"), None), (asked(method="TRACE"), 405),
            (asked(method="CONNECT"), 405), (asked("http://shop.test#a"), 400), (asked("http://shop.test/#a"), None),
        ],
    )  # fmt: skip
    def test_methods_and_fragments(self, request_, status):
        """Capitals, lines and dashes make a method; two are refused, and a fragment straight behind an authority is too."""
        assert locations(("", "/", "a")).route(request_).status == status

    def test_a_missing_slash_redirects_before_expressions(self):
        """A location named path + ``/`` redirects, unless one is named path; the query is kept."""
        table = locations(("", "/a/", "a"), ("~", "a", "regex"), ("", "/b/", "b"), ("=", "/b", "exact"))
        assert table.route(asked("/a?x=1")).location == "/a/?x=1"
        assert table.route(asked("/b")).pool == "exact"

    def test_paths_are_decoded_once_and_then_normalised(self):
        """Paths are decoded once and then normalised.

        ``%2f`` separates, ``%2e%2e`` climbs, and slashes merge unless told otherwise.
        """
        table = locations(("", "/", "root"))
        assert table.route(asked("/a%2f..%2Fb//c%252f#x")).path == "/b/c%2f"
        assert locations(("", "/", "root"), merge_slashes=False).route(asked("/a//b")).path == "/a//b"
        for target in ("/..", "/a%zz", "/%00", "*", "a", "/a b"):
            assert table.route(asked(target)).status == 400

    @pytest.mark.parametrize(
        ("host", "pool"),
        [("x.test", "exact"), ("X.Test.:80", "exact"), ("a.x.test", "suffix"), ("a.b.x.test", "suffix"), ("x.org", "prefix"),
         ("r.y", "regex"), ("other", "default"), ("dot.z", "dot"), ("a.dot.z", "dot")],
    )  # fmt: skip
    def test_servers(self, host, pool):
        """A server is found by exact name, longest suffix, longest prefix, expression, then default."""
        names = {
            "exact": "x.test", "suffix": "*.x.test", "short": "*.test", "prefix": "x.*", "regex": r"~^(?<r>r)\.", "dot": ".dot.z",
            "default": "_",
        }  # fmt: skip
        servers = [
            {
                "names": [name],
                "default": pool == "default",
                "locations": [{"modifier": "", "pattern": "/", "pool": pool}],
            }
            for pool, name in names.items()
        ]
        assert nginx.Locations(servers).route(asked(host=host)).pool == pool

    @pytest.mark.parametrize(
        ("host", "pool"),
        [(".x.test", "suffix"), (".y.test", "dot"), ("y.test", "dot"), ("x.test", "default")],
    )
    def test_a_host_that_begins_with_a_dot(self, host, pool):
        """A host that begins with a dot is below the name behind it."""
        names = {"default": "other", "suffix": "*.x.test", "dot": ".y.test"}
        rule = {"modifier": "", "pattern": "/"}
        servers = [{"names": [name], "locations": [{**rule, "pool": pool}]} for pool, name in names.items()]
        assert nginx.Locations(servers).route(asked(host=host)).pool == pool

    @pytest.mark.parametrize(
        ("names", "pools"),
        [
            (["x.test", ".x.test"], {"x.test": 1, "a.x.test": 0}),
            ([".x.test", "x.test"], {"x.test": 1, "a.x.test": 1}),
            (["*.x.test", ".x.test"], {"x.test": 0, "a.x.test": 1}),
            (["*.x.test", ".x.test", "x.test"], {"x.test": 0, "a.x.test": 1}),
            ([".x.test", "*.x.test"], {"x.test": 1, "a.x.test": 1}),
            (["x.*", "x.test"], {"x.test": 2, "x.org": 1}),
        ],
    )  # fmt: skip
    def test_of_names_in_conflict_the_first_stays(self, names, pools):
        """``.x.test`` is passed over beside ``x.test`` or ``*.x.test``, and keeps a later ``x.test`` out all the same."""
        servers = [
            {"names": [name], "locations": [{"modifier": "", "pattern": "/", "pool": str(place)}]}
            for place, name in enumerate(["default", *names])
        ]
        table = nginx.Locations(servers)
        assert {host: table.route(asked(host=host)).pool for host in pools} == {
            host: str(place) for host, place in pools.items()
        }

    @pytest.mark.parametrize(
        ("target", "method", "status"),
        [
            ("/x", "GET", 404), ("/x", "HEAD", 404), ("/x", "POST", 404), ("/x", "PUT", 405), ("/x/", "OPTIONS", 405), ("/no", "PATCH", 405),
            ("/a", "PUT", None), ("/a", "CONNECT", 405), ("/a", "TRACE", 405), ("/%", "TRACE", 400), ("/%", "CONNECT", 400),
        ],
    )  # fmt: skip
    def test_methods(self, target, method, status):
        """Where no location has a pool nginx looks for a file, which only GET, HEAD and POST may ask for."""
        table = locations(("", "/a", "a"), ("", "/no", None))
        assert table.route(asked(target, method=method)).status == status

    def test_only_a_location_with_a_pool_redirects(self):
        """A location named path + ``/`` that only holds others, or has no pool, is as if it were not there."""
        table = locations(("", "/a/", None, ("", "/a/b", "inner")), ("", "/", "root"))
        assert table.route(asked("/a")).pool == "root"
        assert table.route(asked("/a/")).status == 404
        assert table.route(asked("/a/b")).pool == "inner"

    def test_inside_of_an_expression_only_expressions_are_found(self):
        """Inside of an expression only expressions are found.

        Other locations are accepted there and never looked at.
        """
        table = locations(
            (
                "~",
                "/a",
                "outer",
                ("", "/a/", "prefix"),
                ("=", "/a/x", "exact"),
                ("~", "y$", "inner", ("~", "z", "deep")),
            )
        )
        pools = [table.route(asked(target)).pool for target in ("/a", "/a/", "/a/x", "/a/y", "/a/zy")]
        assert pools == ["outer", "outer", "outer", "inner", "deep"]

    def test_a_request_without_a_host_goes_to_the_server_without_a_name(self):
        """A request without a host goes to the server without a name in HTTP/1.0.

        If each has a name, it goes to the default one.
        """
        rule = [{"modifier": "", "pattern": "/", "pool": "default"}]
        named = {"names": ["shop.test"], "locations": rule}
        other = {"names": ["~.*"], "locations": [{**rule[0], "pool": "expression"}]}
        nameless = {"locations": [{**rule[0], "pool": "nameless"}]}
        old = RawRequest(target="/", http="1.0")
        assert nginx.Locations([named, other]).route(old).pool == "default"
        assert nginx.Locations([named, other, nameless]).route(old).pool == "nameless"
        assert nginx.Locations([named, nameless]).route(asked(host="x")).pool == "default"

    def test_a_second_host_is_a_bad_request(self):
        """A second host is a bad request, whether equal or not."""
        for second in ("shop.test", "x.test"):
            request = asked(host="shop.test", headers={"Host": second})
            assert locations(("", "/", "root")).route(request).status == 400

    @pytest.mark.parametrize("host", ["", ".", "a..b", "a b", "a/b", None])
    def test_bad_hosts(self, host):
        """Empty, doubled dots, blanks, slashes and no host at all are bad requests."""
        assert locations(("", "/", "root")).route(asked(host=host)).status == 400


class TestHaproxy:
    """``use_backend`` and maps."""

    @staticmethod
    def table(*terms, **options):
        return haproxy.UseBackend([{"pool": "yes", "if": [list(terms)]}], default="no", **options)

    @pytest.mark.parametrize(
        ("term", "request_", "holds"),
        [
            ({"fetch": "path_beg", "patterns": ["/a"]}, asked("/ab"), True),
            ({"fetch": "path_beg", "patterns": ["/a"]}, asked("/%61b"), False),
            ({"fetch": "path_beg", "patterns": ["/"]}, asked("http://shop.test"), False),
            ({"fetch": "path_beg", "patterns": ["/A"], "flags": ["-i"]}, asked("/ab"), True),
            ({"fetch": "path_dir", "patterns": ["/b/"]}, asked("/a/b/c"), True),
            ({"fetch": "path_dir", "patterns": ["b"]}, asked("/a/bc"), False),
            ({"fetch": "path_reg", "patterns": ["^/[0-9]+$"]}, asked("/12"), True),
            ({"fetch": "hdr_dom", "arg": "host", "patterns": ["x.test"]}, asked(host="a.x.test.evil"), True),
            ({"fetch": "hdr_end", "arg": "host", "patterns": [".test"]}, asked(host="x.test:80"), False),
            ({"fetch": "hdr", "arg": "x-v", "patterns": ["2"]}, asked(headers={"X-V": "1, 2"}), True),
            ({"fetch": "hdr", "arg": "x-v", "patterns": ["2"], "negate": True}, asked(headers={"X-V": "1, 2"}), False),
            ({"fetch": "hdr", "arg": "x-v", "match": "found", "patterns": []}, asked(), False),
            ({"fetch": "hdr_val", "arg": "x-n", "patterns": ["lt 3"]}, asked(headers={"X-N": "abc"}), True),
            ({"fetch": "hdr_val", "arg": "x-n", "patterns": ["2:4"]}, asked(headers={"X-N": "3x"}), True),
            ({"fetch": "hdr_val", "arg": "x-n", "patterns": ["lt 3"]}, asked(), False),
            ({"fetch": "hdr_val", "arg": "x-n", "patterns": ["lt 3"]}, asked(headers={"X-N": ""}), True),
            ({"fetch": "hdr", "arg": "x-n", "match": "int", "patterns": ["lt 3"]}, asked(headers={"X-N": ""}), False),
            ({"fetch": "hdr", "arg": "x-n", "match": "int", "patterns": ["lt 3"]}, asked(headers={"X-N": "a"}), True),
            ({"fetch": "query", "match": "found", "patterns": []}, asked("/"), False),
            ({"fetch": "query", "match": "found", "patterns": []}, asked("/?"), True),
            ({"fetch": "query", "match": "reg", "patterns": ["^$"]}, asked("/a"), False),
            ({"fetch": "query", "match": "reg", "patterns": ["^$"]}, asked("/a?"), True),
            ({"fetch": "urlp", "arg": "v", "patterns": ["2"]}, asked("/?a=1;v=2"), True),
            ({"fetch": "urlp", "arg": "v", "match": "found", "patterns": []}, asked("/?v"), False),
            ({"fetch": "req.cook", "arg": "s", "patterns": ['"1;2"']}, asked(headers={"Cookie": 'a=b; s = "1;2"'}), True),
            ({"fetch": "method", "patterns": ["GET"]}, asked(method="get"), False),
            ({"fetch": "urlp", "arg": "v", "patterns": ["2"]}, asked("/?v=1?v=2"), True),
            ({"fetch": "req.cook", "arg": "s", "match": "found", "patterns": []}, asked(headers={"Cookie": "a=b;s="}), False),
            ({"fetch": "req.cook", "arg": "s", "match": "found", "patterns": []}, asked(headers={"Cookie": "a=b; s="}), True),
            ({"fetch": "req.cook", "arg": "s", "match": "found", "patterns": []}, asked(headers={"Cookie": "s=;a=b"}), True),
            ({"fetch": "path_beg", "patterns": [""]}, asked("*a"), False),
            ({"fetch": "path", "match": "found", "patterns": []}, asked("http://shop.test"), False),
            ({"fetch": "urlp", "arg": "v", "patterns": ["1"]}, asked("http://shop.test?v=1", None), True),
            ({"fetch": "urlp_val", "arg": "v", "patterns": ["7"]}, asked("/?v=7x"), True),
            ({"fetch": "url", "patterns": ["/a?v"]}, asked("/a?v"), True),
        ],
    )  # fmt: skip
    def test_conditions(self, term, request_, holds):
        """A condition is true if any sample, as sent, matches any pattern."""
        assert self.table(term).route(request_).pool == ("yes" if holds else "no")

    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("7", 7), ("-3", -3), ("7x", 7), ("x7", 0), ("", 0), ("1.5", 85), ("+5", -45), ("7 7", 547), ("--1", 29), ("-", 0),
            ("2147483648", -2147483648), ("4294967297", 1), ("1\xe9", -61),
        ],
    )  # fmt: skip
    def test_the_number_of_a_value(self, text, number):
        """``hdr_val`` stops at what is above ``9``, counts what is below ``0`` as digits below 0, and has 32 bits."""
        request = asked(headers={"X-N": text})
        pattern = f"{number}:{number}" if number >= 0 else f"le {number}"
        assert (
            self.table({"fetch": "hdr_val", "arg": "x-n", "patterns": [pattern]}).route(request).pool == "yes"
        )
        pattern = f"le {number - 1}"
        assert (
            self.table({"fetch": "hdr_val", "arg": "x-n", "patterns": [pattern]}).route(request).pool == "no"
        )

    @pytest.mark.parametrize(
        ("text", "pattern"),
        [
            ("+5", "5"),
            ("1.5", "1"),
            ("7%207", "7"),
            ("-3", "le -3"),
            ("x", "0"),
            ("9" * 30, f"{(1 << 63) - 1}"),
        ],
    )
    def test_the_number_of_a_text(self, text, pattern):
        """``-m int`` reads a sign and digits, up to what 64 bits hold."""
        table = self.table({"fetch": "urlp", "arg": "v", "match": "int", "patterns": [pattern]})
        assert table.route(asked(f"/?v={text}")).pool == "yes"

    @pytest.mark.parametrize(
        ("pattern", "numbers"),
        [
            ("2:3", [2, 3]), ("2-3", [2, 3]), ("3:", [3, 4]), ("3-", [3, 4]), (":1", [-4, 0, 1]), ("-1", [-4, 0, 1]), ("eq -1", [-4, 0, 1]),
            ("lt 1", [-4, 0]), ("le -1", [-4]), ("gt 3", [4]), ("ge 3", [3, 4]), ("eq 3", [3]), (":", [0, 1, 2, 3, 4]),
        ],
    )  # fmt: skip
    def test_ranges_of_numbers(self, pattern, numbers):
        """A minus separates the ends of a range as a colon does, so ``-1`` is everything up to 1."""
        table = self.table({"fetch": "hdr_val", "arg": "x-n", "patterns": [pattern]})
        every = [-4, 0, 1, 2, 3, 4]
        assert [n for n in every if table.route(asked(headers={"X-N": str(n)})).pool == "yes"] == numbers

    @pytest.mark.parametrize("pattern", ["ge -5", "gt -5", "-3:2", "3:2", "a", "1:b", ""])
    def test_ranges_that_haproxy_refuses(self, pattern):
        """A lower end below 0, a range the wrong way round and what is no number are configuration errors."""
        with pytest.raises(ConfigurationError, match="patterns"):
            self.table({"fetch": "hdr_val", "arg": "x-n", "patterns": [pattern]})

    def test_the_url_is_that_which_was_normalised(self):
        """``url`` yields the target after ``normalize-uri``, with the query."""
        table = self.table({"fetch": "url", "patterns": ["/b?v"]}, normalize=["path-strip-dotdot"])
        assert table.route(asked("/a/../b?v")).pool == "yes"

    @pytest.mark.parametrize(
        ("match", "key", "converters", "targets"),
        [
            ("dir", "/", ["lower"], ["/a/", "//"]), ("dir", "/", [], []), ("dom", ".", ["lower"], ["/a/", "/a.", "//"]), ("dir", "", ["upper"], ["/a/", "//"]),
            ("sub", "/", ["lower"], ["/a", "/a/", "/a.", "//"]),
        ],
    )  # fmt: skip
    def test_a_key_of_delimiters(self, match, key, converters, targets):
        """A key of delimiters alone matches the end behind a delimiter, in a sample that was converted."""
        options = {"sample": "path", "match": match, "entries": [[key, "yes"]], "converters": converters}
        table = haproxy.UseBackend([{"map": options}], default="no")
        assert [
            target for target in ("/a", "/a/", "/a.", "//") if table.route(asked(target)).pool == "yes"
        ] == targets

    def test_no_path_finds_nothing_in_a_map(self):
        """A target without a path leads to the default backend, whatever the map's own default is."""
        options = {"sample": "path", "match": "beg", "entries": [["/", "root"]], "default": "other"}
        table = haproxy.UseBackend([{"map": options}], default="no")
        assert [table.route(asked(t)).pool for t in ("/", "http://shop.test")] == ["root", "no"]

    @pytest.mark.parametrize(
        "request_",
        [asked("/a#b"), asked("/é"), asked("a"), asked("http://x/a"), asked(headers={"Host": "other"})],
    )
    def test_bad_requests(self, request_):
        """A fragment, odd bytes, another authority and two hosts are bad requests."""
        assert self.table().route(request_).status == 400

    @pytest.mark.parametrize(
        ("target", "host", "status"),
        [
            ("shop.test", "SHOP.test", None), ("shop.test:80", "shop.test", 400), ("a", None, None), ("h/x", "h", None),
            ("http://h?x", "h", 400), ("https://h:443/", "h", None), ("https://h:80/", "h", 400), ("ftp://h/", "h:80", 400),
            ("http:///a", "h", None), ("http://u@h/", "h:80", None), ("http://h/", "h:", None), ("http://h:/", "H:80", None),
            ("http://h:80/", "h:443", 400), ("http://h/", "g", 400), ("h:", "h", 400), ("ftp://h/", "h:", None),
            ("u@h/x", "h", None), ("a@b@h", "h", None), ("@/x", "h", None), ("h@", "g", None), ("u@g", "h", 400),
            ("a/b@h", "h", 400), ("u@h?x", "h", 400),
        ],
    )  # fmt: skip
    def test_authorities(self, target, host, status):
        """A target's authority is that of the Host header, but for the scheme's own port and a user before it."""
        assert self.table().route(asked(target, host)).status == status

    def test_a_map_that_finds_nothing_ends_the_list(self):
        """The default backend serves, later rules are not looked at; ``beg`` takes the longest key."""
        rules = [
            {
                "map": {
                    "sample": "path",
                    "match": "beg",
                    "entries": [["/a", "a"], ["/a/b", "ab"]],
                    "converters": ["lower"],
                }
            },
            {"pool": "later"},
        ]
        table = haproxy.UseBackend(rules, default="no")
        assert [table.route(asked(target)).pool for target in ("/A/B/c", "/a", "/x")] == ["ab", "a", "no"]

    @pytest.mark.parametrize(
        ("sample", "pool"),
        [("url_param(t)", "one"), ("urlp(t)", "one"), ("req.hdr(x-v)", "three"), ("req.cook(s)", "two")],
        ids=["url_param", "urlp", "header", "cookie"],
    )
    def test_a_map_looks_one_of_several_samples_up(self, sample, pool):
        """Of query parameters it is the first, of headers and cookies the last."""
        entries = [["1", "one"], ["2", "two"], ["3", "three"]]
        table = haproxy.UseBackend(
            [{"map": {"sample": sample, "match": "str", "entries": entries}}], default="no"
        )
        headers = (("X-V", "1, 2"), ("X-V", "1, 3"), ("Cookie", "s=1; s=2"))
        assert table.route(RawRequest(target="/?t=1&t=2", host="h", headers=headers)).pool == pool

    @pytest.mark.parametrize(
        ("steps", "target", "path"),
        [
            (["path-merge-slashes"], "/a//b", "/a/b"),
            (["path-strip-dot"], "/./a/.", "/a/"),
            (["path-strip-dotdot"], "/a/../..", "/../"),
            (["path-strip-dotdot"], "/a//../b", "/a/b"),
            (["path-strip-dotdot full"], "/../a/b/..", "/a/"),
            (["percent-decode-unreserved"], "/%61%2f%%36%36", "/a%2f%66"),
            (["percent-to-uppercase"], "/%2f", "/%2F"),
            (["percent-decode-unreserved", "path-strip-dotdot"], "/a/%2e%2e/b", "/b"),
        ],
    )
    def test_normalize_uri(self, steps, target, path):
        """The steps of ``normalize-uri`` run in the order written."""
        assert self.table(normalize=steps).route(asked(target)).path == path

    def test_strict_steps_refuse_bad_escapes(self):
        """With ``strict`` a bad escape is a bad request."""
        assert self.table(normalize=["percent-decode-unreserved strict"]).route(asked("/%zz")).status == 400

    @pytest.mark.parametrize(
        "wrong",
        [{"fetch": "path_x", "patterns": []}, {"fetch": "path", "match": "x", "patterns": ["a"]},
         {"fetch": "path_reg", "patterns": ["("]}, {"fetch": "hdr_val", "arg": "a", "patterns": ["about 3"]}],
    )  # fmt: skip
    def test_wrong_conditions_are_refused(self, wrong):
        """Unknown fetches, matches and wrong patterns are configuration errors."""
        with pytest.raises(ConfigurationError):
            self.table(wrong)


class TestEnvoy:
    """Virtual hosts and routes."""

    @staticmethod
    def table(match, **options):
        routes = [{"match": match, "action": {"pool": "yes"}}]
        return envoy.RouteConfig([{"domains": ["*"], "routes": routes}], **options)

    @pytest.mark.parametrize(
        ("match", "request_", "holds"),
        [
            ({"path_separated_prefix": "/a"}, asked("/ab"), False),
            ({"path_separated_prefix": "/a"}, asked("/a/b?x"), True),
            ({"path": "/A", "case_sensitive": False}, asked("/a"), True),
            ({"safe_regex": {"regex": "/a"}}, asked("/ab"), False),
            ({"prefix": "/", "headers": [{"name": "x", "string_match": {"exact": "1"}, "invert_match": True}]}, asked(), False),
            ({"prefix": "/", "headers": [{"name": "x", "present_match": True, "invert_match": True}]}, asked(), True),
            ({"prefix": "/", "headers": [{"name": "x", "string_match": {"exact": ""}, "treat_missing_header_as_empty": True}]},
             asked(), True),
            ({"prefix": "/", "headers": [{"name": "x", "range_match": {"start": 1, "end": 5}}]}, asked(headers={"x": "5"}), False),
            ({"prefix": "/", "headers": [{"name": "x", "range_match": {"start": 1, "end": 5}}]}, asked(headers={"x": "1"}), True),
            ({"prefix": "/", "headers": [{"name": ":method", "string_match": {"exact": "PUT"}}]}, asked(method="PUT"), True),
            ({"prefix": "/", "query_parameters": [{"name": "v", "string_match": {"exact": ""}}]}, asked("/?v"), True),
            ({"prefix": "/", "query_parameters": [{"name": "v", "string_match": {"exact": "2"}}]}, asked("/?v=1&v=2"), False),
        ],
    )  # fmt: skip
    def test_matches(self, match, request_, holds):
        """A match holds if all of its parts hold."""
        assert (self.table(match).route(request_).pool == "yes") is holds

    @pytest.mark.parametrize(
        ("template", "target", "holds"),
        [("/a/{id}", "/a/1", True), ("/a/{id}", "/a/", False), ("/a/**", "/a/1/2", True), ("/{x=a/*}/b", "/a/1/b", True),
         ("/a/{x=b*}", "/a/b1", False), ("/a.b", "/axb", False), ("/img/{x}.png", "/img/a.png", True),
         ("/img/*.png", "/img/.png", False), ("/**.png", "/a/.png", True), ("/v{x}/b", "/v1/b", True), ("/v{x}", "/v", False),
         ("/a*", "/", True), ("/a*", "/ab", False), ("/a*b", "/aab", True), ("/{x}.*", "/a", True), ("/*", "/a|b", False)],
    )  # fmt: skip
    def test_templates(self, template, target, holds):
        """A star that begins a segment is one or more characters of it, two are any rest; a later one repeats what it follows."""
        match = {"path_match_policy": {"typed_config": {"path_template": template}}}
        assert (self.table(match).route(asked(target)).pool == "yes") is holds

    @pytest.mark.parametrize(
        ("rule", "values", "holds"),
        [
            ({"string_match": {"exact": "v1"}}, ("v1", "beta"), True),
            ({"string_match": {"exact": "v1,beta"}}, ("v1", "beta"), False),
            ({"string_match": {"contains": ","}}, ("v1", "beta"), False),
            ({"string_match": {"exact": "v1"}, "invert_match": True}, ("beta", "v1"), False),
            ({"string_match": {"exact": "v1"}, "invert_match": True}, ("beta", "v2"), True),
            ({"range_match": {"start": 3, "end": 6}}, ("9", "4"), True),
        ],
    )
    def test_each_of_several_values_is_looked_at(self, rule, values, holds):
        """One has to match, or inverted none; of the headers of which Envoy keeps one value the values are joined."""
        table = self.table({"prefix": "/", "headers": [{"name": "X-V", **rule}]})
        several = RawRequest(host="shop.test", headers=tuple(("x-v", value) for value in values))
        assert (table.route(several).pool == "yes") is holds
        joined = self.table(
            {"prefix": "/", "headers": [{"name": "accept", "string_match": {"exact": "a,b"}}]}
        )
        both = RawRequest(host="shop.test", headers=(("Accept", "a"), ("accept", "b")))
        assert joined.route(both).pool == "yes"

    @pytest.mark.parametrize(
        ("request_", "status"),
        [
            (asked("http://shop.test/a", host=None), None), (asked("http://u@shop.test/a", host="other"), None),
            (asked("ftp://shop.test/a"), 400), (asked("http:///a"), 400), (asked("/\xe9"), 400), (asked("/a", method="get"), 400),
            (asked("a", http="1.0"), 400), (asked("/a#b", http="1.0"), 426), (asked("/a", headers={"Host": ""}), None),
        ],
    )  # fmt: skip
    def test_request_lines(self, request_, status):
        """What the parser refuses comes before the version; an absolute target needs no Host header."""
        hosts = [
            {"domains": ["shop.test"], "routes": [{"match": {"prefix": "/a"}, "action": {"pool": "yes"}}]}
        ]
        assert envoy.RouteConfig(hosts).route(request_).status == status

    @pytest.mark.parametrize(
        ("authority", "status"),
        [
            ("h", None), ("h.", None), ("h..a", None), ("u@h", None), ("@h", None), ("u:p@h:80", None), ("h:0", None),
            ("h:00080", None), ("h:65535", None), ("[::1]", None), ("[::ffff:1.2.3.4]:80", None), ("h:", 400), (":80", 400),
            ("h:65536", 400), ("h:" + "9" * 5_000, 400), ("h:x", 400), ("h:80:80", 400), ("h_a", 400), ("h%41", 400),
            ("a,h", 400), ("h;a", 400), ("h*", 400), ("u[@h", 400), ("a@b@h", 400), ("h@", 400), ("[::1]:", 400),
            ("[:]", 400), ("[::1.2.3]", 400), ("[1.2.3.4]", None), ("[1::2::3]", 400), ("[::1]x", 400),
        ],
        ids=lambda value: None if value is None else str(value)[:20],
    )  # fmt: skip
    def test_the_authority_of_an_absolute_target(self, authority, status):
        """It is a name of letters, digits, dots and hyphens or an address in brackets, and a port up to 65535 if there is a colon."""
        table = self.table({"prefix": "/"})
        assert table.route(asked(f"http://{authority}/", host="other")).status == status

    @pytest.mark.parametrize(
        ("request_", "holds"),
        [
            (asked("/", host="shop.test"), True), (asked("http://shop.test/", host="other"), True),
            (asked("http://other/", host="shop.test"), False),
        ],
        ids=["header", "target", "target-wins"],
    )  # fmt: skip
    def test_the_header_host_is_the_authority(self, request_, holds):
        """A matcher of the header ``host`` reads what one of ``:authority`` reads."""
        for name in ("host", "Host", ":authority"):
            table = self.table(
                {"prefix": "/", "headers": [{"name": name, "string_match": {"exact": "shop.test"}}]}
            )
            assert (table.route(request_).pool == "yes") is holds

    def test_a_virtual_host_is_chosen_once(self):
        """One without a matching route is 404 although ``*`` exists; the port counts unless told otherwise."""
        hosts = [
            {"domains": ["x.test"], "routes": [{"match": {"prefix": "/only"}, "action": {"pool": "x"}}]},
            {"domains": ["*"], "routes": [{"match": {"prefix": "/"}, "action": {"pool": "star"}}]},
        ]
        assert envoy.RouteConfig(hosts).route(asked("/", "x.test")).status == 404
        assert envoy.RouteConfig(hosts).route(asked("/only", "x.test:80")).pool == "star"
        stripped = envoy.RouteConfig(hosts, connection_manager={"strip_any_host_port": True})
        assert stripped.route(asked("/only", "X.test:80")).pool == "x"
        assert stripped.route(asked("/only", "x.test:abc")).pool == "star"
        assert envoy.RouteConfig(hosts).route(asked(http="1.0")).status == 426
        assert envoy.RouteConfig(hosts).route(asked(host=None)).status == 400
        assert envoy.RouteConfig(hosts).route(asked(host="a b")).status == 400

    @pytest.mark.parametrize(
        ("action", "status", "location"),
        [
            ("KEEP_UNCHANGED", None, None),
            ("REJECT_REQUEST", 400, None),
            ("UNESCAPE_AND_REDIRECT", 307, "/a/b?c"),
        ],
    )
    def test_escaped_slashes(self, action, status, location):
        """Escaped slashes are kept, refused or redirected, as configured."""
        table = self.table({"prefix": "/"}, connection_manager={"path_with_escaped_slashes_action": action})
        routed = table.route(asked("/a%2fb?c"))
        assert (routed.status, routed.location) == (status, location)

    @pytest.mark.parametrize(
        ("values", "pool"),
        [(["7"], "b"), (["+7"], "b"), (["007"], "b"), (["7", "7"], "a"), (["-7"], "a"), (["7x"], "a"), ([str((1 << 64) + 7)], "a"),
         ([str((1 << 64) - 1)], "b"), ([], "a"), pytest.param(["1" * 5000], "a", id="many digits"),
         pytest.param(["0" * 5000 + "7"], "b", id="many zeros")],
    )  # fmt: skip
    def test_the_value_of_weighted_clusters(self, values, pool):
        """One decimal number of 64 bits counts; without it, where Envoy draws, the first cluster is taken."""
        action = {"weighted": [["a", 5], ["b", 5]], "by": "header", "header": "x-r"}
        table = envoy.RouteConfig(
            [{"domains": ["*"], "routes": [{"match": {"prefix": "/"}, "action": action}]}]
        )
        headers = tuple(("X-R", value) for value in values)
        assert table.route(RawRequest(target="/", host="x", headers=headers)).pool == pool

    @pytest.mark.parametrize("manager", [{}, {"normalize_path": True}, {"merge_slashes": True}])
    @pytest.mark.parametrize(
        ("target", "status"),
        [
            ("http://h", None),
            ("http://h?v", 404),
            ("http://h?", 404),
            ("http://h/#", 400),
            ("http://h?#", 404),
            ("/#", 400),
        ],
    )
    def test_a_path_that_does_not_begin_with_a_slash(self, target, status, manager):
        """A query without a path is not found, before a fragment is a bad request; without both the path is the root."""
        table = self.table({"safe_regex": {"regex": ".*"}}, connection_manager=manager)
        assert table.route(asked(target)).status == status

    def test_unknown_parts_are_refused(self):
        """Unknown actions, matches and empty weights are configuration errors."""
        with pytest.raises(ConfigurationError, match="path_with_escaped_slashes_action"):
            self.table({"prefix": "/"}, connection_manager={"path_with_escaped_slashes_action": "X"})
        with pytest.raises(ConfigurationError, match="match"):
            self.table({})
        with pytest.raises(ConfigurationError, match="string_match"):
            self.table({"prefix": "/", "headers": [{"name": "x", "string_match": {}}]})


class TestGateway:
    """``HTTPRoute``."""

    def test_hostnames_narrow_a_listener(self):
        """A route serves the hosts that both it and its listener name."""
        table = gateway.HttpRoutes(
            [{"name": "l", "hostname": "*.x.test"}],
            [
                {"name": "a", "hostnames": ["a.x.test", "other"], "rules": [{"pool": "a"}]},
                {"name": "b", "hostnames": ["*.test"], "rules": [{"pool": "b"}]},
                {"name": "c", "hostnames": ["other"], "rules": [{"pool": "c"}]},
            ],
        )
        pools = [
            table.route(asked(host=host)).pool for host in ("a.x.test", "b.x.test:80", "x.test", "other")
        ]
        assert pools == ["a", "b", None, None]

    def test_expressions_and_query_parameters(self):
        """Expressions match the whole value; more query parameters win; of a repeated header only the first match counts."""
        table = gateway.HttpRoutes(
            [{"name": "l"}],
            [
                {"name": "r", "rules": [
                    {"pool": "re", "matches": [{"path": {"type": "RegularExpression", "value": "/[0-9]+"}}]},
                    {"pool": "q", "matches": [{"queryParams": [{"name": "a", "value": "1"}]}]},
                    {"pool": "h", "matches": [{"headers": [{"name": "k", "value": "1"}, {"name": "K", "value": "2"}]}]},
                ]},
            ],
        )  # fmt: skip
        assert table.route(asked("/12")).pool == "re"
        assert table.route(asked("/12x")).status == 404
        assert table.route(asked("/x?a=1")).pool == "q"
        assert table.route(asked("/x", headers={"k": "1"})).pool == "h"

    def test_unknown_types_are_refused(self):
        """An unknown path type is a configuration error."""
        with pytest.raises(ConfigurationError, match="type"):
            gateway.HttpRoutes(
                [{"name": "l"}],
                [{"name": "r", "rules": [{"pool": "x", "matches": [{"path": {"type": "Glob"}}]}]}],
            )


@pytest.mark.parametrize(
    ("pattern", "sample", "holds"),
    [
        ("ge 9", "1" * 5000, True),
        ("lt 0", "-" + "1" * 5000, True),
        ("lt 9", "+" + "0" * 5000 + "7", True),
        (f"ge {'1' * 5000}", "9", False),
        (f"le {'0' * 5000}9", "7", True),
    ],
    ids=[
        "a long sample",
        "a long negative sample",
        "a sample of zeros",
        "a long pattern",
        "a pattern of zeros",
    ],
)
def test_numbers_of_any_length_are_limited_to_64_bits(pattern, sample, holds):
    """A sample or a pattern of thousands of digits is a number at the end of the range, and no error."""
    rule = {"pool": "yes", "if": [[{"fetch": "hdr", "arg": "x", "match": "int", "patterns": [pattern]}]]}
    table = haproxy.UseBackend([rule], default="no")
    assert (table.route(asked(headers={"X": sample})).pool == "yes") is holds


def test_no_request_raises():
    """Twenty thousand requests of random bytes get an answer from each machine."""
    rng = random.Random(14)
    machines = [
        locations(("", "/a/", "a"), ("~", "b", "b"), ("", "/", "root")),
        haproxy.UseBackend(
            [{"pool": "a", "if": [[{"fetch": "urlp", "arg": "a", "patterns": ["a"]}], [{"fetch": "req.cook", "arg": "a", "patterns": ["a"]}]]},
             {"pool": "b", "if": [[{"fetch": "path_dom", "patterns": ["a"]}]]}],
            default="d", normalize=["percent-decode-unreserved", "path-strip-dotdot", "path-merge-slashes"],
        ),
        envoy.RouteConfig(
            [{"domains": ["a*", "*b", "*"], "routes": [{"match": {"prefix": "/"}, "action": {"weighted": [["x", 1], ["y", 2]], "by": "hash", "header": "k"}}]}],
            connection_manager={"normalize_path": True, "merge_slashes": True, "strip_any_host_port": True,
                                "strip_trailing_host_dot": True, "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"},
        ),
        gateway.HttpRoutes([{"name": "l", "hostname": "*.a"}, {"name": "m"}], [{"name": "r", "rules": [{"pool": "x"}]}]),
    ]  # fmt: skip
    for number in range(20_000):
        target = "".join(rng.choices('/aab.%2fF5cC0;\\#?&=:"\0 é*', k=rng.randrange(12)))
        host = rng.choice([None, "".join(rng.choices("ab.:[]1,é ", k=rng.randrange(6)))])
        headers = (*tuple(("".join(rng.choices("kK:", k=1)), target) for _ in range(2)), ("Cookie", target))
        routed = machines[number % 4].route(RawRequest(target=target, host=host, headers=headers))
        assert (routed.pool is None) == (routed.status is not None)


class TestExpressions:
    """Expressions of PCRE and RE2 where Python would read them otherwise."""

    @pytest.mark.parametrize(
        ("expression", "matched", "unmatched"),
        [
            (r"^/[[:alpha:]]+$", ["/ab"], ["/a1", "/:", "/[a]"]),
            (r"^/[^[:digit:]_]$", ["/a"], ["/1", "/_"]),
            (r"^/[[:space:][:punct:]x]$", ["/!", "/~", "/x", "/ "], ["/a", "/0"]),
            (r"^/[a&&b||c~~[]+$", ["/a&b|c~["], ["/d"]),
            (r"^/[+--]$", ["/+", "/,", "/-"], ["/.", "/*"]),
            (r"^/[]a]$", ["/]", "/a"], ["/b"]),
            (r"^/[^]a]$", ["/b"], ["/]", "/a"]),
            (r"^/[\]\h]$", ["/]", "/ ", "/\t"], ["/h"]),
            (r"^/[\x{41}-C]$", ["/A", "/B"], ["/D", "/x"]),
            (r"^/\Qa.b\E+\z", ["/a.b", "/a.bb"], ["/axb", "/a.b\n"]),
            (r"^/a\Z", ["/a", "/a\n"], ["/a\n\n", "/ab"]),
            (r"^/a\z", ["/a"], ["/a\n"]),
            (r"^/a{,2}$", ["/a{,2}"], ["/a", "/aa"]),
            (r"^/a{2}b{1,}$", ["/aab", "/aabb"], ["/ab", "/aa"]),
            (r"^/\x{41}\h\H$", ["/A b"], ["/A  "]),
            (r"^/(?<name>a)(?<!b)\(\?<x$", ["/a(?<x"], ["/b"]),
        ],
    )
    @pytest.mark.filterwarnings("error")
    def test_they_match_what_pcre_matches(self, expression, matched, unmatched):
        """Expressions match what PCRE matches: classes by name, signs in classes, quotes, ends, counts and codes.

        No warning is given.
        """
        found = compiled("pattern", expression)
        assert [text for text in matched + unmatched if found.search(text)] == matched

    @pytest.mark.parametrize(
        "expression", ["[[:alpha:]", "[[:letters:]]", "(", "a\\", "[", "[^]", "[b-a]", 7]
    )
    def test_what_is_none_is_refused(self, expression):
        """A wrong expression is refused.

        It has a class that does not end or exist, an open bracket, or a backslash at the end.
        """
        with pytest.raises(ConfigurationError, match="a regular expression"):
            compiled("pattern", expression)

    def test_every_class_has_the_characters_of_its_name(self):
        """Every POSIX class has the ASCII characters of its name."""
        letters = string.ascii_letters
        sets = {
            "alnum": letters + string.digits, "alpha": letters, "digit": string.digits, "lower": string.ascii_lowercase,
            "upper": string.ascii_uppercase, "punct": string.punctuation, "space": string.whitespace, "blank": " \t",
            "xdigit": string.hexdigits, "word": letters + string.digits + "_",
            "graph": letters + string.digits + string.punctuation,
            "print": letters + string.digits + string.punctuation + " ",
            "cntrl": "".join(map(chr, [*range(32), 127])), "ascii": "".join(map(chr, range(128))),
        }  # fmt: skip
        for name, members in sets.items():
            found = compiled("pattern", f"[[:{name}:]]")
            assert {chr(code) for code in range(256) if found.fullmatch(chr(code))} == set(members), name
