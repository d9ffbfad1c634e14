"""Configurations of nginx and HAProxy for tests, and requests for them: shapes of every method, and random ones.

Six servers are given by their addresses. The same seed makes the same configuration and the same requests.
"""

from __future__ import annotations

from random import Random
from typing import Any

from tests.oracles.proxyconfig import shapes

__all__ = ["COUNT", "REQUESTS", "haproxy_text", "nginx_text", "requests_of"]

DRAWN = 30
"""Random configurations; those in the shape of the manuals' examples follow."""
COUNT = DRAWN + len(shapes.NGINX)
REQUESTS = 200
HASHES = ("sdbm", "djb2", "wt6", "crc32")


def requests_of(seed: int) -> list[dict[str, Any]]:
    """Return requests: target, host, headers and the client's address, one of loopback's."""
    rng = Random(f"requests {seed}")
    found = []
    for _ in range(REQUESTS):
        path = "/" + "/".join(rng.choice(("api", "shop", "img", "a", "x1")) for _ in range(rng.randint(1, 3)))
        query = f"?user={rng.randint(1, 60)}&n={rng.randint(1, 9)}" if rng.random() < 0.8 else ""
        headers = [["X-User", f"u{rng.randint(1, 60)}"]] if rng.random() < 0.8 else []
        client = f"127.{rng.randint(0, 9)}.{rng.randint(0, 9)}.{rng.randint(2, 9)}"
        host = rng.choice(("shop.test", "api.shop.test", "other.test"))
        found.append({"target": path + query, "host": host, "headers": headers, "client": client})
    return found


def nginx_text(seed: int, addresses: list[str], port: int) -> str:
    """Return a configuration of nginx."""
    if seed >= DRAWN:
        return shapes.NGINX[seed - DRAWN](addresses, port)
    rng = Random(f"nginx {seed}")
    methods = (
        "",
        "least_conn;",
        "ip_hash;",
        "hash $arg_user;",
        "hash $arg_user consistent;",
        "hash $request_uri consistent;",
        "hash $http_x_user$uri;",
        "hash $remote_addr consistent;",
        "hash $binary_remote_addr;",
        "hash $host$key consistent;",
        "random;",
        "random two least_conn;",
    )
    pools = []
    for number in range(3):
        method = methods[(seed + 5 * number) % len(methods)]
        servers = rng.sample(addresses, rng.randint(2, 5))
        lines = []
        for place, address in enumerate(servers):
            words = [address]
            if rng.random() < 0.5:
                words.append(f"weight={rng.randint(1, 5)}")
            if place == 2 and rng.random() < 0.4:
                words.append("down")
            elif (
                place == len(servers) - 1
                and len(servers) > 2
                and method in {"", "least_conn;"}
                and rng.random() < 0.4
            ):
                words.append("backup")
            if rng.random() < 0.3:
                words.append(f"max_fails={rng.randint(0, 3)} fail_timeout={rng.randint(5, 30)}s")
            lines.append(f"        server {' '.join(words)};")
        pools.append(
            "\n".join(
                [f"    upstream p{number} {{", *([f"        {method}"] if method else []), *lines, "    }"]
            )
        )
    order = rng.sample(range(3), 3)
    return f"""worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    map $http_x_user $key {{ default none; ~^u[1-3] low; u7 seven; }}
    map $arg_n $chosen {{ default p{order[0]}; 1 p{order[1]}; ~[2-4] p{order[2]}; }}
{chr(10).join(pools)}
    server {{
        listen 127.0.0.1:{port} default_server;
        server_name shop.test;
        location / {{ proxy_pass http://p{order[0]}; }}
        location /api/ {{ proxy_pass http://p{order[1]}/; proxy_set_header Host $host; }}
        location ^~ /img/x1 {{ proxy_pass http://p{order[2]}; }}
        location ~ x1$ {{ proxy_pass http://p{order[2]}; }}
        location = /shop {{ proxy_pass http://{addresses[0]}; }}
    }}
    server {{
        listen 127.0.0.1:{port};
        server_name *.shop.test;
        location / {{ proxy_pass http://$chosen; }}
    }}
}}
"""


def haproxy_text(seed: int, addresses: list[str], port: int) -> str:
    """Return a configuration of HAProxy."""
    if seed >= DRAWN:
        return shapes.HAPROXY[seed - DRAWN](addresses, port)
    rng = Random(f"haproxy {seed}")
    methods = (
        "roundrobin",
        "static-rr",
        "leastconn",
        "first",
        "source",
        "uri",
        "uri depth 1",
        "uri len 6",
        "uri whole",
        "hdr(X-User)",
        "url_param user",
        "random",
    )
    pools = []
    for number in range(3):
        method = methods[(seed + 5 * number) % len(methods)]
        lines = [f"    balance {method}"]
        if method.split("(")[0].split()[0] in {"source", "uri", "hdr", "url_param"} and rng.random() < 0.7:
            words = [rng.choice(("map-based", "consistent"))]
            if rng.random() < 0.6:
                words += [rng.choice(HASHES), *(["avalanche"] if rng.random() < 0.5 else [])]
            lines.append(f"    hash-type {' '.join(words)}")
        servers = rng.sample(addresses, rng.randint(2, 5))
        for place, address in enumerate(servers):
            words = [f"s{place}", address]
            if rng.random() < 0.5:
                words.append(f"weight {rng.randint(0 if place else 1, 9)}")
            if place == 2 and rng.random() < 0.4:
                words.append("disabled")
            elif place == len(servers) - 1 and len(servers) > 2 and rng.random() < 0.4:
                words.append("backup")
            if rng.random() < 0.2:
                words.append(f"id {100 + rng.randint(1, 9) * 10 + place}")
            lines.append(f"    server {' '.join(words)}")
        pools.append("\n".join([f"backend p{number}", *lines]))
    order = rng.sample(range(3), 3)
    return f"""global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend web
    bind 127.0.0.1:{port}
    acl api path_beg /api
    acl img path_beg /img /a/
    acl shop hdr(host) -i shop.test
    acl low hdr_beg(X-User) u1 u2
    use_backend p{order[1]} if api !low or {{ path_end x1 }} shop
    use_backend p{order[2]} if img or low {{ url_param(n) -m int ge 5 }}
    default_backend p{order[0]}
{chr(10).join(pools)}
"""
