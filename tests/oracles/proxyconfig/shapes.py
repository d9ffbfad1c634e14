"""Configurations in the shape of the examples of each server's manual, written anew for six servers on loopback.

nginx: load balancing, ``ngx_http_upstream_module``, ``location`` and server names. HAProxy: the quick examples of the
configuration manual, ``balance``, ``cookie``, ``acl`` and ``listen``. Envoy: front proxy, traffic shifting and splitting,
subsets, priorities and hash policies.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["ENVOY", "HAPROXY", "NGINX"]

Shape = Callable[[list[str], int], str]


def _nginx(upstreams: str, servers: str) -> str:
    return f"worker_processes 1;\nevents {{ worker_connections 256; }}\nhttp {{\n    access_log off;\n{upstreams}\n{servers}\n}}\n"


def _one(port: int, body: str = "location / { proxy_pass http://backend; }") -> str:
    return f"    server {{\n        listen 127.0.0.1:{port};\n        {body}\n    }}"


def _upstream(method: str, *servers: str) -> str:
    lines = "".join(f"        server {server};\n" for server in servers)
    return f"    upstream backend {{\n{f'        {method};' if method else ''}\n{lines}    }}"


NGINX: tuple[Shape, ...] = (
    lambda a, port: _nginx(
        _upstream(
            "",
            f"{a[0]} weight=5",
            a[1],
            f"{a[2]} max_fails=3 fail_timeout=30s",
            f"{a[3]} backup",
            f"{a[4]} backup",
        ),
        _one(port),
    ),
    lambda a, port: _nginx(_upstream("least_conn", a[0], a[1], a[2]), _one(port)),
    lambda a, port: _nginx(_upstream("ip_hash", a[0], a[1], f"{a[2]} down", a[3]), _one(port)),
    lambda a, port: _nginx(_upstream("hash $request_uri consistent", a[0], a[1], a[2], a[3]), _one(port)),
    lambda a, port: _nginx(_upstream("random two least_conn", f"{a[0]} weight=3", a[1], a[2]), _one(port)),
    lambda a, port: _nginx(
        _upstream("random", f"{a[0]} weight=3", a[1], f"{a[2]} down", f"{a[3]} weight=2"), _one(port)
    ),
    lambda a, port: _nginx(
        "",
        _one(
            port,
            f"""location = / {{ proxy_pass http://{a[0]}; }}
        location / {{ proxy_pass http://{a[1]}; }}
        location /api/ {{ proxy_pass http://{a[2]}; }}
        location ^~ /img/ {{ proxy_pass http://{a[3]}; }}
        location ~* \\.(gif|jpg|jpeg)$|SHOP$ {{ proxy_pass http://{a[4]}; }}""",
        ),
    ),
    lambda a, port: _nginx(
        f"    map $http_host $pool {{ default {a[0]}; ~^api\\. {a[1]}; shop.test {a[2]}; }}",
        _one(port, "location / { proxy_pass http://$pool; }"),
    ),
    lambda a, port: _nginx(
        "",
        "\n".join(
            f"    server {{ listen 127.0.0.1:{port}; server_name {name}; location / {{ proxy_pass http://{address}; }} }}"
            for name, address in zip(
                ("shop.test", "*.shop.test", "other.*", "~^(?<sub>.+)\\.test$"), a, strict=False
            )
        ),
    ),
    lambda a, port: _nginx(
        _upstream("hash $cookie_session$remote_addr", f"{a[0]} weight=2", a[1], a[2]),
        _one(
            port,
            "location /api { proxy_pass http://backend; } location /shop { return 403; } location / { return 301 https://$host$request_uri; }",
        ),
    ),
)

_DEFAULTS = """global
    nbthread 1
defaults
    mode http
    timeout connect 5000ms
    timeout client 50000ms
    timeout server 50000ms
"""


def _haproxy(port: int, rules: str, backends: str) -> str:
    return f"{_DEFAULTS}frontend http-in\n    bind 127.0.0.1:{port}\n{rules}{backends}"


def _servers(addresses: list[str], *more: str) -> str:
    words = [*more, *[""] * len(addresses)]
    return "".join(f"    server server{n} {address} {words[n]}\n" for n, address in enumerate(addresses))


HAPROXY: tuple[Shape, ...] = (
    lambda a, port: (
        f"{_DEFAULTS}listen http-in\n    bind 127.0.0.1:{port}\n"
        + _servers(a[:2], "maxconn 32", "maxconn 32")
    ),
    lambda a, port: _haproxy(
        port,
        "    acl url_static path_beg /img /a\n    acl url_static path_end -i .jpg .gif /SHOP\n"
        "    use_backend static if url_static\n    default_backend app\n",
        "backend static\n    balance roundrobin\n"
        + _servers(a[:2])
        + "backend app\n    balance roundrobin\n"
        + _servers(a[2:6], "check", "weight 2 check"),
    ),
    lambda a, port: _haproxy(
        port, "    default_backend b\n", "backend b\n    balance url_param user\n" + _servers(a[:3])
    ),
    lambda a, port: _haproxy(
        port,
        "    default_backend b\n",
        "backend b\n    balance source\n    hash-type consistent\n" + _servers(a[:4]),
    ),
    lambda a, port: _haproxy(
        port,
        "    default_backend b\n",
        "backend b\n    balance roundrobin\n    cookie SERVERID insert indirect nocache\n"
        + _servers(a[:2], "cookie server0 weight 1", "cookie server1 weight 3"),
    ),
    lambda a, port: _haproxy(
        port,
        "    default_backend b\n",
        "backend b\n    balance leastconn\n    option allbackups\n"
        + _servers(a[:4], "disabled", "disabled", "backup", "backup"),
    ),
    lambda a, port: _haproxy(
        port, "    default_backend b\n", "backend b\n    balance random\n" + _servers(a[:4], "weight 3")
    ),
    lambda a, port: _haproxy(
        port,
        "    default_backend b\n",
        "backend b\n    balance static-rr\n" + _servers(a[:3], "weight 10", "weight 20"),
    ),
    lambda a, port: _haproxy(
        port,
        "    acl host_www hdr_beg(host) -i shop.\n    acl api hdr_dom(host) -i shop.test\n"
        "    use_backend www if host_www\n    use_backend api if api { method GET }\n    default_backend www\n",
        "backend www\n    balance uri depth 1\n"
        + _servers(a[:3])
        + "backend api\n    balance hdr(X-User)\n"
        + _servers(a[3:6]),
    ),
    lambda a, port: _haproxy(
        port,
        "    default_backend b\n",
        "backend b\n    balance random(1)\n" + _servers(a[:3], "weight 1", "weight 5"),
    ),
)


def _endpoint(address: str, *more: str) -> str:
    host, _, port = address.rpartition(":")
    words = "".join(f", {one}" for one in more)
    return f"{{endpoint: {{address: {{socket_address: {{address: {host}, port_value: {port}}}}}}}{words}}}"


def _cluster(name: str, policy: str, *groups: str, more: str = "") -> str:
    return f"""  - name: {name}
    connect_timeout: 0.25s
    type: STRICT_DNS
    lb_policy: {policy}
{more}    load_assignment:
      cluster_name: {name}
      endpoints:
{"".join(groups)}"""


def _group(*endpoints: str, priority: int = 0) -> str:
    lines = "".join(f"        - {one}\n" for one in endpoints)
    return f"      - priority: {priority}\n        lb_endpoints:\n{lines}"


def _envoy(port: int, routes: str, clusters: str) -> str:
    return f"""static_resources:
  listeners:
  - address:
      socket_address: {{address: 127.0.0.1, port_value: {port}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          codec_type: AUTO
          stat_prefix: ingress_http
          route_config:
            name: local_route
            virtual_hosts:
            - name: backend
              domains: ["*"]
              routes:
{routes}          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
{clusters}"""


def _route(match: str, action: str) -> str:
    return f"              - match: {match}\n                {action}\n"


def _splits(names: tuple[str, ...], weights: tuple[int, ...]) -> str:
    clusters = ", ".join(
        f"{{name: {name}, weight: {weight}}}" for name, weight in zip(names, weights, strict=True)
    )
    return f"route: {{weighted_clusters: {{clusters: [{clusters}]}}}}"


def _versions(a: list[str]) -> str:
    """Return hosts in the shape of the documentation's table of subsets."""
    rows = (
        ("prod", "1.0", "std"),
        ("prod", "1.0", "std"),
        ("prod", "1.1", "std"),
        ("prod", "1.1", "bigmem"),
        ("dev", "1.2-pre", "std"),
    )
    return _group(
        *[
            _endpoint(
                address,
                f'metadata: {{filter_metadata: {{envoy.lb: {{stage: {s}, version: "{v}", type: {t}}}}}}}',
            )
            for address, (s, v, t) in zip(a, rows, strict=False)
        ]
    )


def _subset(match: str, wanted: str) -> str:
    return _route(
        match,
        f"route: {{cluster: s, metadata_match: {{filter_metadata: {{envoy.lb: {wanted}}}}}, "
        "hash_policy: [{header: {header_name: x-user}}, {connection_properties: {source_ip: true}}]}",
    )


_FALLBACK = """    lb_subset_config:
      fallback_policy: DEFAULT_SUBSET
      default_subset: {stage: prod}
      subset_selectors:
      - keys: [stage, type]
      - keys: [stage, version]
      - keys: [version]
"""

ENVOY: tuple[Shape, ...] = (
    lambda a, port: _envoy(
        port,
        _route("{path_separated_prefix: /api}", "route: {cluster: one}")
        + _route("{prefix: /shop}", "route: {cluster: two}"),
        _cluster("one", "ROUND_ROBIN", _group(_endpoint(a[0])))
        + _cluster("two", "ROUND_ROBIN", _group(_endpoint(a[1]), _endpoint(a[2]))),
    ),
    lambda a, port: _envoy(
        port,
        _route(
            "{prefix: /, runtime_fraction: {default_value: {numerator: 0, denominator: HUNDRED}, runtime_key: shift}}",
            "route: {cluster: v1}",
        )
        + _route(
            "{prefix: /, runtime_fraction: {default_value: {numerator: 100}, runtime_key: shift}}",
            "route: {cluster: v2}",
        ),
        _cluster("v1", "RANDOM", _group(_endpoint(a[0])))
        + _cluster("v2", "RANDOM", _group(_endpoint(a[1]), _endpoint(a[2]), _endpoint(a[3]))),
    ),
    lambda a, port: _envoy(
        port,
        _route("{prefix: /}", _splits(("v1", "v2", "v3"), (33, 33, 34))),
        "".join(_cluster(f"v{n}", "ROUND_ROBIN", _group(_endpoint(a[n]))) for n in (1, 2, 3)),
    ),
    lambda a, port: _envoy(
        port,
        _subset("{prefix: /api}", '{version: "1.1"}')
        + _subset("{prefix: /shop}", "{stage: prod, type: bigmem}")
        + _subset("{prefix: /img}", "{stage: dev, version: 1.2-pre}")
        + _subset("{prefix: /a}", "{stage: test}")
        + _subset("{prefix: /}", '{version: "9"}'),
        _cluster("s", "MAGLEV", _versions(a), more=_FALLBACK),
    ),
    lambda a, port: _envoy(
        port,
        _route(
            "{prefix: /}",
            "route: {cluster: p, hash_policy: [{query_parameter: {name: user}}, {header: {header_name: x-user}}]}",
        ),
        _cluster(
            "p",
            "RING_HASH",
            _group(
                _endpoint(a[0]),
                _endpoint(a[1], "health_status: UNHEALTHY"),
                _endpoint(a[2], "health_status: UNHEALTHY"),
            ),
            _group(_endpoint(a[3]), _endpoint(a[4]), priority=1),
            _group(_endpoint(a[5]), priority=2),
        ),
    ),
    lambda a, port: _envoy(
        port,
        _route(
            "{prefix: /}",
            "route: {cluster: c, hash_policy: [{cookie: {name: session}, terminal: true}, {header: {header_name: ':authority'}}]}",
        ),
        _cluster(
            "c",
            "RING_HASH",
            _group(*map(_endpoint, a[:4])),
            more="    ring_hash_lb_config: {minimum_ring_size: 64}\n",
        ),
    ),
    lambda a, port: _envoy(
        port,
        _route(
            "{prefix: /, headers: [{name: ':authority', string_match: {suffix: .shop.test, ignore_case: true}}]}",
            "route: {cluster: l}",
        )
        + _route("{prefix: /}", "redirect: {https_redirect: true, path_redirect: /login, strip_query: true}"),
        _cluster("l", "LEAST_REQUEST", _group(*map(_endpoint, a[:3]))),
    ),
    lambda a, port: _envoy(
        port,
        _route("{prefix: /}", "route: {cluster: w}"),
        _cluster(
            "w",
            "LEAST_REQUEST",
            _group(
                _endpoint(a[0], "load_balancing_weight: 4"),
                _endpoint(a[1], "load_balancing_weight: 2"),
                _endpoint(a[2]),
            ),
        ),
    ),
)
