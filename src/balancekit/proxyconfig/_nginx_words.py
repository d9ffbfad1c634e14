"""Directives of nginx by what they mean to a decision.

They are read, without effect, or with an effect that is not modelled.
"""

# ruff: noqa: SIM905 - lists of words are texts here

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = [
    "FAMILIES",
    "METHODS",
    "PASSES",
    "SERVER_FLAGS",
    "SERVER_NUMBERS",
    "effect_of",
    "is_neutral",
]

METHODS: Final = frozenset({"least_conn", "ip_hash", "hash", "random"})
FAMILIES: Final = ("proxy_", "fastcgi_", "grpc_", "memcached_", "scgi_", "uwsgi_")
"""Beginnings of directives that modules which pass requests on have in common."""
PASSES: Final = frozenset(f"{family}pass" for family in FAMILIES)
SERVER_FLAGS: Final = frozenset({"backup", "down", "resolve"})
SERVER_NUMBERS: Final = frozenset({"weight", "max_fails", "max_conns"})

NEUTRAL: Final = frozenset(
    """
    absolute_redirect accept_mutex accept_mutex_delay access_log add_header add_header_inherit add_trailer
    add_trailer_inherit addition_types aio aio_write alias allow ancient_browser ancient_browser_value auth_basic_user_file
    auth_delay auth_request_set autoindex body break charset chunked_transfer_encoding connection_pool_size
    create_full_put_path daemon debug_connection debug_points default_type directio directio_alignment disable_symlinks
    empty_gif env epoll_events error_log etag events expires flv gunzip gunzip_buffers http2 http3 if_modified_since
    ignore_invalid_headers index keepalive keepalive_disable keepalive_min_timeout keepalive_requests keepalive_time
    keepalive_timeout large_client_header_buffers limit_rate limit_rate_after lingering_close lingering_time
    lingering_timeout listen load_module lock_file map_hash_bucket_size map_hash_max_size master_process max_headers
    max_ranges merge_slashes min_delete_depth mirror_request_body modern_browser modern_browser_value mp4 msie_padding
    msie_refresh multi_accept open_file_cache open_file_cache_errors open_file_cache_min_uses open_file_cache_valid
    open_log_file_cache output_buffers override_charset pcre_jit pid port_in_redirect postpone_gzipping postpone_output
    random_index read_ahead real_ip_recursive referer_hash_bucket_size referer_hash_max_size request_pool_size
    reset_timedout_connection resolver resolver_timeout rewrite_log root satisfy secure_link secure_link_md5
    secure_link_secret send_lowat send_timeout sendfile sendfile_max_chunk server_name server_name_in_redirect
    server_names_hash_bucket_size server_names_hash_max_size server_tokens source_charset ssi ssl status status_zone
    stub_status sub_filter subrequest_output_buffer_size tcp_nodelay tcp_nopush thread_pool timer_resolution types
    types_hash_bucket_size types_hash_max_size underscores_in_headers uninitialized_variable_warn use user
    valid_referers variables_hash_bucket_size variables_hash_max_size worker_aio_requests worker_connections
    worker_cpu_affinity worker_priority worker_processes worker_rlimit_core worker_rlimit_nofile
    worker_shutdown_timeout working_directory xml_entities zone
    """.split()
)
"""They decide nothing about which server gets a request."""
NEUTRAL_PREFIXES: Final = tuple(
    """ssl_ gzip client_ log_ autoindex_ charset_ dav_ geoip_ http2_ http3_ image_filter limit_conn_ limit_req_ mp4_
    perl_ quic_ ssi_ sub_filter_ userid xslt_ brotli js_ lua_ more_""".split()
)
"""Beginnings of names of further directives that decide nothing, those of widespread modules among them."""
NEUTRAL_SUFFIXES: Final = frozenset(
    """
    bind buffer_size buffering buffers busy_buffers_size cache_background_update cache_bypass cache_convert_head
    cache_key cache_lock cache_lock_age cache_lock_timeout cache_max_range_offset cache_methods cache_min_uses
    cache_path cache_revalidate cache_use_stale cache_valid catch_stderr connect_timeout cookie_domain cookie_flags
    cookie_path force_ranges gzip_flag headers_hash_bucket_size headers_hash_max_size hide_header http_version
    ignore_client_abort ignore_headers index intercept_errors keep_conn limit_rate max_temp_file_size method modifier1
    modifier2 no_cache param pass_header pass_request_body pass_request_headers pass_trailers read_timeout redirect
    request_buffering send_lowat send_timeout set_body set_header socket_keepalive split_path_info ssl_certificate
    ssl_certificate_cache ssl_certificate_key ssl_ciphers ssl_conf_command ssl_crl ssl_key_log ssl_name
    ssl_password_file ssl_protocols ssl_server_name ssl_session_reuse ssl_trusted_certificate ssl_verify
    ssl_verify_depth store store_access string temp_file_write_size temp_path
    """.split()
)
"""Names without the beginning of their family: directives that decide nothing."""
FAILURES: Final = "failures are not part of an explanation"
ROUTING_SUFFIXES: Final[Mapping[str, str]] = {
    "next_upstream": FAILURES,
    "next_upstream_tries": FAILURES,
    "next_upstream_timeout": FAILURES,
    "cache": "answers from the cache reach no server",
}
"""Names without the beginning of their family: directives that may change where a request goes, and are not followed."""

ROUTING: Final[Mapping[str, str]] = {
    "if": "it may change or answer requests",
    "rewrite": "it may change the path before a location is chosen",
    "try_files": "it may answer with a file or lead elsewhere",
    "error_page": "it may lead failed requests elsewhere",
    "recursive_error_pages": "it may lead failed requests elsewhere",
    "set": "variables that are set are not followed",
    "split_clients": "variables that are drawn are not followed",
    "geo": "variables by address are not followed",
    "limit_except": "it may refuse methods",
    "limit_req": "it may refuse requests",
    "limit_conn": "it may refuse requests",
    "auth_request": "it may refuse requests",
    "auth_basic": "it may refuse requests",
    "deny": "it may refuse requests",
    "internal": "it refuses requests from outside",
    "mirror": "it sends a copy elsewhere",
    "add_before_body": "it sends a second request",
    "add_after_body": "it sends a second request",
    "slice": "it splits a request into several",
    "auth_jwt": "it may refuse requests",
    "modsecurity": "it may refuse requests",
    "check": "every server is taken to be well",
    "health_check": "every server is taken to be well",
    "set_real_ip_from": "the client's address may be another",
    "real_ip_header": "the client's address may be another",
    "stream": "connections of the stream module are not followed",
    "mail": "connections of the mail module are not followed",
    "post_action": "it sends a second request",
    "perl": "programs are not followed",
    "js_content": "programs are not followed",
    "content_by_lua_block": "programs are not followed",
    "rewrite_by_lua_block": "programs are not followed",
    "access_by_lua_block": "programs are not followed",
    "balancer_by_lua_block": "programs are not followed",
}
"""They may change where a request goes, and are not followed."""


def effect_of(name: str) -> str | None:
    """Return what a directive may change although it is not followed: ``None`` for nothing, empty if that is not known.

    Example
    -------
    >>> effect_of("uwsgi_read_timeout"), effect_of("grpc_next_upstream"), effect_of("fancy")
    (None, 'failures are not part of an explanation', '')
    """
    if name in ROUTING:
        return ROUTING[name]
    if name in NEUTRAL or name.startswith(NEUTRAL_PREFIXES):
        return None
    suffix = next((name.removeprefix(family) for family in FAMILIES if name.startswith(family)), "")
    return None if suffix in NEUTRAL_SUFFIXES else ROUTING_SUFFIXES.get(suffix, "")


def is_neutral(name: str) -> bool:
    """Whether a directive decides nothing about which server gets a request."""
    return effect_of(name) is None
