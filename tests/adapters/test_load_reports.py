"""Load reports from real servers: an HTTP server of two speeds, and a grpcio server with trailers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from wsgiref.simple_server import WSGIRequestHandler, make_server

import grpc
import httpx2
import pytest
import requests
from xds.data.orca.v3.orca_load_report_pb2 import OrcaLoadReport

from balancekit import LoadBalancer
from balancekit.adapters.httpx2 import BalancedTransport
from balancekit.adapters.requests import BalancedAdapter
from balancekit.outcome import LoadReport
from balancekit.reported import (
    LOAD_HEADER_BINARY,
    ReportedRoundRobin,
    ReportedWeights,
    parse_orca,
)


class Quiet(WSGIRequestHandler):
    """A handler that logs nothing."""

    def log_message(self, *_):
        pass


@contextmanager
def server(app):
    """Run a WSGI application on loopback; yields its address."""
    httpd = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def reporting(used):
    """Return an application that reports a utilization."""

    def app(environ, start_response):
        report = f"TEXT application_utilization={used},rps_fractional=100"
        start_response("200 OK", [("endpoint-load-metrics", report)])
        return [b"well"]

    return app


def lying(environ, start_response):
    """Report a load that cannot be."""
    start_response(
        "200 OK", [("endpoint-load-metrics", "TEXT application_utilization=-1,rps_fractional=nan")]
    )
    return [b"well"]


def send_by_httpx2(lb, count):
    """Send requests by a balanced httpx2 client."""
    with httpx2.Client(transport=BalancedTransport(lb)) as client:
        return [client.get("http://service/").text for _ in range(count)]


def send_by_requests(lb, count):
    """Send requests by a balanced session of requests."""
    with requests.Session() as session:
        session.mount("http://service/", BalancedAdapter(lb))
        return [session.get("http://service/", timeout=5).text for _ in range(count)]


@pytest.mark.parametrize("send", [send_by_httpx2, send_by_requests])
def test_adapters_read_the_header_of_a_real_server(send):
    """A server that reports half the utilization of another has twice its weight; what cannot be is ignored."""
    rule = ReportedWeights(blackout=0.0)
    selector = ReportedRoundRobin(rule, period=1e-6)
    with server(reporting(0.8)) as one, server(reporting(0.4)) as two:
        assert set(send(LoadBalancer([one, two], selector=selector), 10)) == {"well"}
        assert selector.weights == {one: 125.0, two: 250.0}
    with server(lying) as wrong:
        selector = ReportedRoundRobin(rule, period=1e-6)
        assert set(send(LoadBalancer([wrong], selector=selector), 5)) == {"well"}
        assert selector.weights == {wrong: 1.0}


def test_a_trailer_of_a_real_grpc_server_is_a_report():
    """The binary message of each call, by grpcio on both sides.

    grpcio keeps a trailer of the official name for its own policies and does not show it: programs use another.
    """
    message = OrcaLoadReport(application_utilization=0.25, rps_fractional=40.0, named_metrics={"kv": 0.5})
    own_name = "load-report-bin"

    def call(request, context):
        data = message.SerializeToString()
        context.set_trailing_metadata(((LOAD_HEADER_BINARY, data), (own_name, data)))
        return request

    handler = grpc.method_handlers_generic_handler("t.T", {"Call": grpc.unary_unary_rpc_method_handler(call)})
    real = grpc.server(ThreadPoolExecutor(2))
    real.add_generic_rpc_handlers((handler,))
    port = real.add_insecure_port("127.0.0.1:0")
    real.start()
    lb = LoadBalancer([f"127.0.0.1:{port}"])
    reports = []
    lb.on_completion(lambda endpoint, completion: reports.append(completion.load_report))
    try:
        with lb.acquire() as lease, grpc.insecure_channel(lease.target) as channel:
            _, made = channel.unary_unary("/t.T/Call").with_call(b"x", timeout=5)
            trailers = dict(made.trailing_metadata())
            assert LOAD_HEADER_BINARY not in trailers
            lease.report_load(parse_orca(trailers[own_name]))
    finally:
        real.stop(None).wait()
    assert reports == [LoadReport(application_utilization=0.25, rps=40.0, named_metrics={"kv": 0.5})]
