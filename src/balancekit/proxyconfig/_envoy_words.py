"""Fields of Envoy's configuration.

Those that decide nothing about balancing, and those that may and are not followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = [
    "BOOTSTRAP",
    "CLUSTER",
    "CLUSTER_IGNORED",
    "COMMON",
    "COMMON_IGNORED",
    "CONNECTION",
    "CONNECTION_IGNORED",
    "ELSEWHERE",
    "ENDPOINT",
    "HEALTH_ASSUMED",
    "LISTENER",
    "LISTENER_IGNORED",
    "ROUTE",
    "ROUTES",
    "ROUTES_IGNORED",
    "ROUTE_ACTION",
    "ROUTE_ACTION_IGNORED",
    "ROUTE_IGNORED",
    "TCP_PROXY",
    "TCP_PROXY_IGNORED",
    "VIRTUAL_HOST",
    "VIRTUAL_HOST_IGNORED",
]

HEALTH_ASSUMED: Final = "every host is taken to be well"
CHANGED: Final = "requests are not changed here, and what is hashed may be"
ELSEWHERE: Final = "resources of another server or file are not followed"

BOOTSTRAP: Final = frozenset(
    [
        "node",
        "admin",
        "stats_sinks",
        "stats_config",
        "stats_flush_interval",
        "stats_flush_on_admin",
        "watchdog",
        "watchdogs",
        "tracing",
        "layered_runtime",
        "overload_manager",
        "header_prefix",
        "stats_server_version_override",
        "use_tcp_for_dns_lookups",
        "dns_resolution_config",
        "typed_dns_resolver_config",
        "bootstrap_extensions",
        "fatal_actions",
        "default_socket_interface",
        "application_log_config",
        "grpc_async_client_manager_config",
        "enable_dispatcher_stats",
        "config_sources",
        "default_config_source",
        "default_regex_engine",
        "flags_path",
        "inline_headers",
        "perf_tracing_file_path",
        "memory_allocator_manager",
        "deferred_stat_options",
        "hds_config",
        "listener_manager",
    ]
)
CLUSTER: Final = frozenset(
    [
        "name",
        "alt_stat_name",
        "connect_timeout",
        "per_connection_buffer_limit_bytes",
        "max_requests_per_connection",
        "upstream_http_protocol_options",
        "common_http_protocol_options",
        "http_protocol_options",
        "http2_protocol_options",
        "typed_extension_protocol_options",
        "dns_refresh_rate",
        "dns_jitter",
        "dns_failure_refresh_rate",
        "respect_dns_ttl",
        "dns_lookup_family",
        "dns_resolvers",
        "use_tcp_for_dns_lookups",
        "dns_resolution_config",
        "typed_dns_resolver_config",
        "cleanup_interval",
        "upstream_bind_config",
        "transport_socket",
        "metadata",
        "protocol_selection",
        "upstream_connection_options",
        "close_connections_on_host_health_failure",
        "track_timeout_budgets",
        "upstream_config",
        "track_cluster_stats",
        "connection_pool_per_downstream_connection",
        "wait_for_warm_on_init",
        "circuit_breakers",
        "preconnect_policy",
        "filters",
        "ignore_health_on_host_removal",
    ]
)
CLUSTER_IGNORED: Final[Mapping[str, str]] = {
    "cluster_type": "its hosts are found by an extension",
    "eds_cluster_config": ELSEWHERE,
    "health_checks": HEALTH_ASSUMED,
    "outlier_detection": HEALTH_ASSUMED,
    "original_dst_lb_config": "its hosts are where the client meant to go",
    "transport_socket_matches": "",
}
COMMON: Final = frozenset(
    ["update_merge_window", "ignore_new_hosts_until_first_hc", "close_connections_on_host_set_change"]
)
COMMON_IGNORED: Final[Mapping[str, str]] = {
    "zone_aware_lb_config": "where other proxies are is not known",
    "override_host_status": "",
}
ENDPOINT: Final = frozenset(["health_check_config", "additional_addresses"])
LISTENER: Final = frozenset(
    [
        "name",
        "stat_prefix",
        "per_connection_buffer_limit_bytes",
        "listener_filters_timeout",
        "continue_on_listener_filters_timeout",
        "socket_options",
        "tcp_fast_open_queue_length",
        "traffic_direction",
        "udp_listener_config",
        "api_listener",
        "connection_balance_config",
        "reuse_port",
        "enable_reuse_port",
        "access_log",
        "tcp_backlog_size",
        "max_connections_to_accept_per_socket_event",
        "bind_to_port",
        "enable_mptcp",
        "ignore_global_conn_limit",
        "drain_type",
        "metadata",
        "freebind",
        "transparent",
        "bypass_overload_manager",
    ]
)
LISTENER_IGNORED: Final[Mapping[str, str]] = {
    "filter_chain_matcher": "the first filter chain is taken",
    "listener_filters": "they may change the client's address",
    "use_original_dst": "connections may go to another listener",
    "listener_specifier": "",
}
CONNECTION: Final = frozenset(
    [
        "codec_type",
        "stat_prefix",
        "access_log",
        "access_log_options",
        "tracing",
        "common_http_protocol_options",
        "http_protocol_options",
        "http2_protocol_options",
        "http3_protocol_options",
        "server_name",
        "server_header_transformation",
        "scheme_header_transformation",
        "max_request_headers_kb",
        "stream_idle_timeout",
        "stream_flush_timeout",
        "request_timeout",
        "request_headers_timeout",
        "drain_timeout",
        "delayed_close_timeout",
        "add_user_agent",
        "via",
        "generate_request_id",
        "preserve_external_request_id",
        "always_set_request_id_in_response",
        "forward_client_cert_details",
        "set_current_client_cert_details",
        "proxy_100_continue",
        "upgrade_configs",
        "request_id_extension",
        "local_reply_config",
        "stream_error_on_invalid_http_message",
        "represent_ipv4_remote_address_as_ipv4_mapped_ipv6",
        "internal_address_config",
        "proxy_status_config",
        "skip_xff_append",
        "append_x_forwarded_port",
        "append_local_overload",
        "add_proxy_protocol_connection_state",
        "max_stream_duration",
        "3xx_response_code",
        "use_remote_address",
    ]
)
CONNECTION_IGNORED: Final[Mapping[str, str]] = {
    "rds": ELSEWHERE,
    "scoped_routes": ELSEWHERE,
    "xff_num_trusted_hops": "the client's address is that of the connection",
    "original_ip_detection_extensions": "the client's address is that of the connection",
    "early_header_mutation_extensions": CHANGED,
    "path_normalization_options": "",
    "typed_header_validation_config": "",
}
ROUTES: Final = frozenset(
    [
        "name",
        "response_headers_to_add",
        "response_headers_to_remove",
        "most_specific_header_mutations_wins",
        "max_direct_response_body_size_bytes",
        "internal_only_headers",
        "request_mirror_policies",
        "metadata",
    ]
)
ROUTES_IGNORED: Final[Mapping[str, str]] = {
    "vhds": ELSEWHERE,
    "request_headers_to_add": CHANGED,
    "request_headers_to_remove": CHANGED,
    "cluster_specifier_plugins": "",
    "typed_per_filter_config": "",
}
VIRTUAL_HOST: Final = frozenset(
    [
        "name",
        "virtual_clusters",
        "rate_limits",
        "response_headers_to_add",
        "response_headers_to_remove",
        "cors",
        "hedge_policy",
        "include_request_attempt_count",
        "include_attempt_count_in_response",
        "include_is_timeout_retry_header",
        "per_request_buffer_limit_bytes",
        "request_body_buffer_limit",
        "request_mirror_policies",
        "metadata",
    ]
)
RETRIES: Final = "failures are not part of an explanation"
VIRTUAL_HOST_IGNORED: Final[Mapping[str, str]] = {
    "retry_policy": RETRIES,
    "retry_policy_typed_config": RETRIES,
    "request_headers_to_add": CHANGED,
    "request_headers_to_remove": CHANGED,
    "typed_per_filter_config": "",
    "matcher": "its routes are not followed",
}
ROUTE: Final = frozenset(
    [
        "name",
        "metadata",
        "decorator",
        "response_headers_to_add",
        "response_headers_to_remove",
        "tracing",
        "per_request_buffer_limit_bytes",
        "request_body_buffer_limit",
        "stat_prefix",
    ]
)
ROUTE_IGNORED: Final[Mapping[str, str]] = {
    "request_headers_to_add": CHANGED,
    "request_headers_to_remove": CHANGED,
    "typed_per_filter_config": "",
    "filter_action": "",
}
ROUTE_ACTION: Final = frozenset(
    [
        "prefix_rewrite",
        "regex_rewrite",
        "path_rewrite_policy",
        "path_rewrite",
        "host_rewrite_literal",
        "auto_host_rewrite",
        "host_rewrite_header",
        "host_rewrite_path_regex",
        "host_rewrite",
        "append_x_forwarded_host",
        "timeout",
        "idle_timeout",
        "flush_timeout",
        "early_data_policy",
        "request_mirror_policies",
        "priority",
        "rate_limits",
        "include_vh_rate_limits",
        "cors",
        "max_grpc_timeout",
        "grpc_timeout_offset",
        "upgrade_configs",
        "max_stream_duration",
        "cluster_not_found_response_code",
    ]
)
ROUTE_ACTION_IGNORED: Final[Mapping[str, str]] = {
    "retry_policy": RETRIES,
    "retry_policy_typed_config": RETRIES,
    "hedge_policy": RETRIES,
    "internal_redirect_policy": "answers are not part of an explanation",
    "internal_redirect_action": "answers are not part of an explanation",
}

TCP_PROXY: Final = frozenset(
    [
        "stat_prefix",
        "access_log",
        "access_log_options",
        "access_log_flush_interval",
        "flush_access_log_on_connected",
        "idle_timeout",
        "max_connect_attempts",
        "max_downstream_connection_duration",
        "backoff_options",
    ]
)
TCP_PROXY_IGNORED: Final[Mapping[str, str]] = {
    "weighted_clusters": "clusters of connections are not drawn by weight: none is named",
    "hash_policy": "connections are not hashed: hosts are drawn at random",
    "metadata_match": "subsets of connections are not followed",
    "tunneling_config": "connections go through a tunnel that is not followed",
    "on_demand": ELSEWHERE,
}
"""Fields of a proxy of connections."""
