"""Directives of nginx by what they mean to a decision.

They are read, without effect, or with an effect that is not modelled.
"""

# ruff: noqa: SIM905 - lists of words are texts here

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["METHODS", "NEUTRAL", "PASSES", "ROUTING", "SERVER_FLAGS", "SERVER_NUMBERS"]

METHODS: Final = frozenset({"least_conn", "ip_hash", "hash", "random"})
PASSES: Final = frozenset(
    {"proxy_pass", "fastcgi_pass", "grpc_pass", "memcached_pass", "scgi_pass", "uwsgi_pass"}
)
SERVER_FLAGS: Final = frozenset({"backup", "down", "resolve"})
SERVER_NUMBERS: Final = frozenset({"weight", "max_fails", "max_conns"})

NEUTRAL: Final = frozenset(
    """
    access_log add_header aio allow autoindex body charset chunked_transfer_encoding daemon default_type
    directio env error_log etag events expires fastcgi_buffer_size fastcgi_buffers fastcgi_connect_timeout
    fastcgi_hide_header fastcgi_index fastcgi_param fastcgi_read_timeout fastcgi_send_timeout http2 if_modified_since
    ignore_invalid_headers index keepalive keepalive_disable keepalive_requests keepalive_time keepalive_timeout
    large_client_header_buffers lingering_close lingering_time lingering_timeout listen load_module lock_file
    log_format log_not_found log_subrequest master_process max_ranges merge_slashes multi_accept open_file_cache
    open_file_cache_errors open_file_cache_min_uses open_file_cache_valid output_buffers pcre_jit pid postpone_output
    proxy_bind proxy_busy_buffers_size proxy_cache_bypass proxy_connect_timeout proxy_force_ranges
    proxy_headers_hash_bucket_size proxy_headers_hash_max_size proxy_hide_header proxy_http_version
    proxy_ignore_client_abort proxy_ignore_headers proxy_intercept_errors proxy_max_temp_file_size proxy_no_cache
    proxy_pass_header proxy_pass_request_body proxy_pass_request_headers proxy_read_timeout proxy_redirect
    proxy_request_buffering proxy_send_lowat proxy_send_timeout proxy_set_header proxy_socket_keepalive
    proxy_ssl_certificate proxy_ssl_certificate_key proxy_ssl_ciphers proxy_ssl_name proxy_ssl_protocols
    proxy_ssl_server_name proxy_ssl_session_reuse proxy_ssl_trusted_certificate proxy_ssl_verify
    proxy_ssl_verify_depth proxy_temp_path proxy_cookie_path proxy_cookie_domain read_ahead reset_timedout_connection
    resolver resolver_timeout root send_timeout sendfile sendfile_max_chunk server_name server_name_in_redirect
    server_names_hash_bucket_size server_names_hash_max_size server_tokens ssi status stub_status tcp_nodelay
    tcp_nopush timer_resolution types types_hash_bucket_size types_hash_max_size underscores_in_headers use user
    variables_hash_bucket_size variables_hash_max_size worker_aio_requests worker_connections worker_cpu_affinity
    worker_priority worker_processes worker_rlimit_core worker_rlimit_nofile worker_shutdown_timeout
    working_directory zone map_hash_bucket_size map_hash_max_size absolute_redirect port_in_redirect msie_padding
    satisfy auth_basic_user_file limit_rate limit_rate_after proxy_limit_rate proxy_method
    real_ip_recursive
    """.split()
)
"""They decide nothing about which server gets a request."""

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
    "alias": "",
    "mirror": "it sends a copy elsewhere",
    "proxy_next_upstream": "failures are not part of an explanation",
    "proxy_next_upstream_tries": "failures are not part of an explanation",
    "proxy_next_upstream_timeout": "failures are not part of an explanation",
    "proxy_cache": "answers from the cache reach no server",
    "set_real_ip_from": "the client's address may be another",
    "real_ip_header": "the client's address may be another",
    "stream": "connections of the stream module are not followed",
    "mail": "connections of the mail module are not followed",
    "post_action": "it sends a second request",
    "sub_filter": "",
    "perl": "programs are not followed",
    "js_content": "programs are not followed",
    "content_by_lua_block": "programs are not followed",
    "rewrite_by_lua_block": "programs are not followed",
    "access_by_lua_block": "programs are not followed",
    "balancer_by_lua_block": "programs are not followed",
}
"""They may change where a request goes, and are not followed."""
