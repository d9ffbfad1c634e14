"""What HAProxy's rules and methods read from a request: cookies, normalised targets, arguments, modes, as 2.6 was observed."""

from __future__ import annotations

import pytest

from balancekit.proxyconfig import ProxyConfigError, ProxyRequest, read_haproxy

SERVERS = "".join(f" server s{n} 10.0.0.{n}:80 cookie c{n}\n" for n in range(1, 5))


@pytest.fixture
def read(tmp_path):
    """Return what reads a configuration whose frontend begins at line 4; ``mode`` is line 3."""

    def written(rules="", backend="", servers=SERVERS, mode=" mode http"):
        path = tmp_path / "haproxy.cfg"
        text = f"global\ndefaults\n{mode}\nfrontend f\n bind :80\n{rules} default_backend b\n"
        path.write_text(f"{text}backend b\n{backend}{servers}backend other\n server x 10.0.0.9:80\n")
        return read_haproxy(str(path))

    return written


def cookies(*values):
    """Return a request with headers of cookies."""
    return ProxyRequest(headers=tuple(("Cookie", value) for value in values))


@pytest.mark.parametrize(
    ("headers", "server"),
    [
        (["S=c3"], "s3"),
        (["a=1,S=c3"], "s3"),
        (["S = c3 ; b=1"], "s3"),
        (["S=c3,z"], "s3"),
        (["S=c3|date|date"], "s3"),
        (["S=x; S=c3"], "s3"),
        (["S; S=c3"], "s3"),
        (["S=c3; S=c2"], "s3"),
        (["a=1", "S=c3"], "s3"),
        (["S=c3", "S=c2"], "s3"),
        (["S=c4; S=c3"], "s3"),
        (["s=c3"], "s1"),
        (['S="c3"'], "s1"),
        (["S=c3~x"], "s1"),
        ([], "s1"),
    ],
)
def test_the_first_cookie_that_names_a_usable_server_binds(read, headers, server):
    """The first cookie that names a usable server binds.

    It may stand behind ``;`` or ``,``, with blanks round ``=``.
    """
    config = read(backend=" cookie S insert\n", servers=SERVERS.replace("c4", "c4 disabled"))
    assert config.explain(cookies(*headers)).server.name == server


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        (["S=1"], "1"),
        (["a=1,S=2"], "2"),
        (["S = 2 "], "2"),
        (["S=2,z"], "2"),
        (["S=1; S=2"], "2"),
        (["S=1", "S=2"], "2"),
        (["S; S=2"], "2"),
        (["T=2"], None),
    ],
)
def test_the_last_cookie_of_the_name_is_hashed(read, headers, key):
    """The last cookie of the name is hashed, as the sample fetch finds it."""
    config = read(backend=" balance hash req.cook(S)\n")
    assert config.explain(cookies(*headers)).key == key


@pytest.mark.parametrize(
    ("step", "balance", "target", "key", "chosen"),
    [
        ("path-merge-slashes", "uri", "//a//b", "/a/b", "/a/b"),
        ("path-merge-slashes", "uri", "http://localhost//a", "http://localhost/a", "/a"),
        ("path-strip-dotdot", "uri", "/../a", "/../a", "/../a"),
        ("path-strip-dotdot full", "uri", "/../a", "/a", "/a"),
        ("percent-to-uppercase strict", "uri", "/%2f", "/%2F", "/%2F"),
        ("query-sort-by-name", "uri whole", "/?x=1&a=2", "/?a=2&x=1", "/"),
        ("query-sort-by-name", "url_param x", "/?x=2&b=3&a=2", "2", "/"),
        ("fragment-strip", "uri", "//a", "//a", "//a"),
        ("fragment-encode", "uri", "//a", "//a", "//a"),
    ],
)
def test_normalised_targets_are_compared_and_hashed(read, step, balance, target, key, chosen):
    """Normalised targets are what rules compare and what is hashed, for each step of a frontend."""
    rules = f" http-request normalize-uri {step}\n use_backend other if {{ path_beg /never }}\n"
    config = read(rules, f" balance {balance}\n")
    assert config.not_modelled == ()
    assert config.explain(ProxyRequest(target)).key == key
    rules = f" http-request normalize-uri {step}\n use_backend other if {{ path {chosen} }}\n"
    assert read(rules).route(ProxyRequest(target)).pool == "other"


def test_a_strict_step_refuses_what_is_no_escape(read):
    """A strict step answers 400 to what is no escape."""
    config = read(" http-request normalize-uri percent-to-uppercase strict\n")
    assert config.route(ProxyRequest("/%zz")).status == 400


@pytest.mark.parametrize("step", ["nothing", "", "path-merge-slashes full"])
def test_an_unknown_step_is_refused_or_listed_with_its_line(read, step):
    """A name that is no step is an error; words behind a step are listed."""
    rules = f" http-request normalize-uri {step}\n"
    if step.endswith("full"):
        with pytest.raises(ProxyConfigError, match=r"haproxy\.cfg:6: "):
            read(rules)
        return
    with pytest.raises(ProxyConfigError, match=r"haproxy\.cfg:6: .*path-merge-slashes"):
        read(rules)


def test_conditions_of_steps_and_steps_of_backends_are_listed(read):
    """Conditions of steps, and steps of backends, are listed with their lines."""
    config = read(
        " http-request normalize-uri path-merge-slashes if { path_beg //a }\n",
        " http-request normalize-uri path-merge-slashes\n balance uri\n",
    )
    assert [(one.origin.line, one.why) for one in config.not_modelled] == [
        (6, "its condition is not followed: it is taken to hold"),
        (9, "what is hashed is taken as it came"),
    ]


@pytest.mark.parametrize("name", ["set-header X-User u", "add-header X-User u", "del-header X-User"])
def test_headers_that_rules_change_are_listed(read, name):
    """Headers that rules change are listed, as later rules and what is hashed see the change."""
    (found,) = read(f" http-request {name}\n").not_modelled
    assert (found.origin.line, found.why) == (6, "it may change or answer requests")


@pytest.mark.parametrize(
    "test", ["hdr(x-a,1) a", "hdr(x-a,-1) -m found", "urlp(x,;) 1", "%[hdr(x-a,1),map(m)]"]
)
def test_second_arguments_are_listed(read, test, tmp_path):
    """An occurrence or a separator as a second argument is listed with its line."""
    (tmp_path / "m").write_text("a other\n")
    rule = f"use_backend {test}" if test.startswith("%") else f"use_backend other if {{ {test} }}"
    (found,) = read(f" {rule}\n").not_modelled
    assert found.origin.line == 6
    assert "second argument" in found.why


@pytest.mark.parametrize(
    "test", ["hdr(x-a)", "hdr(x-a) -i", "hdr_beg(x-a)", "hdr_val(x-a)", "hdr(x-a) -m str", "path", "method"]
)
def test_a_test_without_patterns_never_holds(read, test):
    """A test without patterns never holds, except ``-m found``."""
    request = ProxyRequest(headers=(("X-A", "1"),))
    config = read(f" use_backend other if {{ {test} }}\n")
    assert config.route(request).pool == "b"
    assert read(f" use_backend other if !{{ {test} }}\n").route(request).pool == "other"
    assert read(" use_backend other if { hdr(x-a) -m found }\n").route(request).pool == "other"


@pytest.mark.parametrize("mode", ["", " mode tcp"])
@pytest.mark.parametrize("balance", ["hdr(X-User)", "uri", "url_param u", "hash req.cook(S)"])
def test_outside_of_mode_http_servers_take_turns(read, mode, balance):
    """Without ``mode`` the mode is tcp: no request is read, methods that hash one take turns, cookies bind nothing."""
    config = read(backend=f" balance {balance}\n cookie S insert\n", mode=mode)
    request = ProxyRequest("/?u=1", headers=(("X-User", "u"), ("Cookie", "S=c3")))
    assert [name for _, name in config.follow([request] * 5)] == ["s1", "s2", "s3", "s4", "s1"]
    assert [(one.origin.line, one.why) for one in config.not_modelled] == [
        (8, "outside of mode http servers take turns")
    ]


def test_outside_of_mode_http_conditions_are_listed(read):
    """Whether they hold depends on when bytes arrive; a rule without one is followed; so is the address of the client."""
    config = read(" use_backend other if { path /a }\n use_backend other\n", " balance source\n", mode="")
    assert [one.origin.line for one in config.not_modelled] == [6]
    assert config.pools["b"].key == "source"


@pytest.mark.parametrize(
    ("backend", "line"),
    [
        (" balance hdr\n", 8),
        (" balance hdr()\n", 8),
        (" balance hdr(x) foo\n", 8),
        (" balance url_param\n", 8),
        (" balance hash\n", 8),
        (" balance uri len\n", 8),
        (" balance uri\n hash-type consistent avalanche\n", 9),
        (" balance uri\n hash-type consistent sdbm foo\n", 9),
        (" balance uri\n hash-balance-factor 100\n", 9),
        (" balance uri\n server z 10.0.0.1:99999\n", 9),
        (" balance uri\n server z 10.0.0.1:8x\n", 9),
        (" balance uri\n server z [::1]:70000\n", 9),
        (" balance uri\n server z 10.0.0.1 id 2147483648\n", 9),
        (" balance uri\n acl \\xZZ path\n", 9),
    ],
)
def test_what_haproxy_refuses_is_refused_with_its_line(read, backend, line):
    """The reader refuses with its line what HAProxy refuses, such as factors, ports and ids out of range."""
    with pytest.raises(ProxyConfigError, match=rf"haproxy\.cfg:{line}: "):
        read(backend=backend)


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("ipv4@10.0.0.1:80", "10.0.0.1:80"),
        ("ipv6@::1:80", "::1:80"),
        ("unix@/run/a:b", "/run/a:b"),
        ("/run/a:b", "/run/a:b"),
        ("abns@name:x", "abns@name:x"),
        ("app:+8000", "app:+8000"),
        ("10.0.0.1:0", "10.0.0.1:0"),
        ("10.0.0.1:", "10.0.0.1:"),
    ],
)
def test_addresses_are_read_without_their_family(read, written, address):
    """A family before an address is left out, an offset of the port stays."""
    config = read(servers=f" server a {written}\n")
    assert config.pools["b"].servers[0].address == address


def test_balance_alone_takes_turns(read):
    """HAProxy takes ``balance`` without a word as round robin."""
    config = read(backend=" balance\n")
    assert [name for _, name in config.follow([ProxyRequest()] * 3)] == ["s1", "s2", "s3"]


@pytest.mark.parametrize(
    ("condition", "targets"),
    [
        ('if TRUE "" FALSE', "/a /b /"),
        ('if { path /a } "" { path /b }', "/a"),
        ('if ""', ""),
        ('unless ""', "/a /b /"),
        ('"" if { path /a }', "/a /b /"),
        ("if", ""),
        ("if !", ""),
        ("unless or", "/a /b /"),
        ("if { path /a } or", "/a"),
        ("if or { path /a } OR || { path /b }", "/a /b"),
        ("if ! or { path /a }", "/a"),
        ("if !or { path /a }", "/a"),
        ("if !! { path /a } ! { path /b }", "/a"),
        ("if ! !{ path /a }", "/a"),
        ("if { path /a ", None),
        ('if { path "" }', None),
    ],
)
def test_an_empty_word_ends_a_condition_and_signs_may_stand_alone(read, condition, targets):
    """A condition ends at an empty word; a sign or an ``or`` without a test has no effect; no test at all never holds."""
    rule = f" use_backend other {condition}\n"
    if targets is None:
        with pytest.raises(ProxyConfigError):
            read(rule)
        return
    config = read(rule)
    sent = [target for target in ("/a", "/b", "/") if config.route(ProxyRequest(target)).pool == "other"]
    assert sent == targets.split()


def test_an_empty_pattern_ends_the_patterns_of_an_acl(read):
    """The patterns of an ``acl`` end at an empty one: without a pattern before it, the ``acl`` never holds."""
    config = read(' acl none hdr(x) ""\n acl one hdr(x) a "" b\n use_backend other if none or one\n')
    values = [
        value
        for value in ("", "a", "b")
        if config.route(ProxyRequest(headers=(("X", value),))).pool == "other"
    ]
    assert values == ["a"]


def test_an_unknown_variable_ends_no_line(read):
    """A variable that is not known is noted and taken to be empty; the words behind it are read."""
    config = read(servers=' server s1 "$ADDRESS" weight 7\n')
    assert config.pools["b"].servers[0].weight == 7
    assert any("ADDRESS" in note.why for note in config.not_modelled)


@pytest.mark.parametrize(
    ("first", "targets"),
    [("if a", "/a /b /c"), ("unless a", "/"), ("if a { path /b }", "/b"), ("if !a !a", "/")],
)
def test_a_later_line_of_an_acl_holds_for_earlier_rules(read, first, targets):
    """An ``acl`` that is declared again after a rule has used it is extended for that rule as well."""
    config = read(f" acl a path /a\n use_backend other {first}\n acl a path /b\n acl a path /c\n")
    sent = [one for one in ("/a", "/b", "/c", "/") if config.route(ProxyRequest(one)).pool == "other"]
    assert sent == targets.split()


def test_a_rule_is_noted_if_a_later_line_of_its_acl_is_not_modelled(read):
    """A rule whose ``acl`` gets a line that is not modelled later is taken not to match, and noted."""
    config = read(
        " acl a path /a\n use_backend other if a\n use_backend other if { path /b }\n acl a src 10.0.0.1\n"
    )
    assert [config.route(ProxyRequest(one)).pool for one in ("/a", "/b")] == ["b", "other"]
    assert [note.text for note in config.not_modelled] == ["acl a src 10.0.0.1", "use_backend other if a"]


def test_patterns_of_a_file_keep_their_last_blanks(read, tmp_path):
    """A line of a file of patterns loses its first blanks only; one that begins with ``#`` is a comment."""
    (tmp_path / "patterns").write_text("a\n  b\n#c\n #d\ne \n\n  \nf g\r\n")
    config = read(f" use_backend other if {{ hdr(x) -f {tmp_path}/patterns }}\n")
    values = ["a", "b", "#c", "#d", "e", "f g", ""]
    sent = [one for one in values if config.route(ProxyRequest(headers=(("X", one),))).pool == "other"]
    assert sent == ["a", "b", "#d", "f g"]


@pytest.mark.parametrize(
    ("default", "pools"), [("", ["other", "b", "b"]), (",other", ["other", "b", "other"])]
)
def test_a_key_of_a_map_without_a_value_names_no_backend(read, tmp_path, default, pools):
    """A key without a value leads to the default backend, not to the default value of the map."""
    (tmp_path / "map").write_text("a other\nb\n")
    config = read(f" use_backend %[hdr(x),map({tmp_path}/map{default})]\n")
    assert [config.route(ProxyRequest(headers=(("X", one),))).pool for one in "abc"] == pools
