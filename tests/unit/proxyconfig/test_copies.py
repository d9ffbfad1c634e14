"""Copies of what was read and decided: equal to the original, or refused with what to do instead."""

from __future__ import annotations

import copy
import pickle

import pytest
from tests.unit.proxyconfig import _refused, _refused_nginx
from tests.unit.proxyconfig.test_re2 import bootstrap

from balancekit.proxyconfig import ProxyRequest, read_config

HAPROXY = _refused.config("frontend", "acl x path_beg /b\n    use_backend c if x").replace(
    "backend b", "backend b\n    balance uri"
)
DUPLICATES = [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]


@pytest.fixture(params=["haproxy.cfg", "nginx.conf", "envoy.json"])
def path(request, tmp_path):
    """Return the path of a configuration."""
    texts = {
        "haproxy.cfg": HAPROXY,
        "nginx.conf": _refused_nginx.config(tmp_path, "upstream", "hash $uri;"),
        "envoy.json": bootstrap("/b"),
    }
    path = tmp_path / request.param
    path.write_text(texts[request.param], encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("duplicate", DUPLICATES)
def test_decisions_and_pools_are_equal_to_their_copies(path, duplicate):
    """Copied, pickled or read again, a pool and a decision are equal to the first, and hash alike."""
    config, again = read_config(path), read_config(path)
    request = ProxyRequest("/a")
    for name, pool in config.pools.items():
        assert duplicate(pool) == pool == again.pools[name]
        assert hash(duplicate(pool)) == hash(pool) == hash(again.pools[name])
        assert pool != pool.replace(method="other")
        assert pool != pool.replace(settings={**pool.settings, "other": 1})
        assert pool != pool.name
    decision = config.explain(request)
    assert duplicate(decision) == decision == again.explain(request)
    assert str(duplicate(decision)) == str(decision)
    assert decision != config.explain(ProxyRequest("/other"))


def test_a_pickled_pool_has_no_functions_and_a_copied_one_has(path):
    """A copy starts machines as the original does; what was pickled describes only."""
    pool = next(iter(read_config(path).pools.values()))
    assert copy.deepcopy(pool).start is pool.start is not None
    assert pickle.loads(pickle.dumps(pool)).start is None


def test_a_configuration_is_its_own_copy_and_is_not_pickled(path):
    """Copies are the same object; pickling raises TypeError that says to read the file in each process."""
    config = read_config(path)
    assert copy.copy(config) is copy.deepcopy(config) is config
    with pytest.raises(TypeError, match=r"read its file in each process, by read_config\(path\)"):
        pickle.dumps(config)
