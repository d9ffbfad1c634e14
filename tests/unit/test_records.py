"""Record classes: real signatures, positional first fields, and errors that name the parameters."""

from __future__ import annotations

import inspect
import itertools
import pickle
import typing

import pytest

from balancekit import ConfigurationError
from balancekit._support.record import Record, field
from balancekit.checks import HttpCheck
from balancekit.compat.envoy import SubsetSelector, ZoneAware
from balancekit.ha import Tracking
from balancekit.health import Lifecycle
from balancekit.outcome import LoadReport
from balancekit.sim import Poisson


class Base(Record):
    """A record with a positional field."""

    first: str = field(kw_only=False)
    second: int = 2


class Child(Base):
    """A record that inherits fields."""

    third: float = 3.0


class TestSignature:
    """What help(), editors and Sphinx see."""

    def test_a_signature_lists_fields_types_and_defaults(self):
        """inspect.signature gives each field with its annotation and default, positional ones first."""
        found = inspect.signature(Child)
        assert list(found.parameters) == ["first", "second", "third"]
        assert found.parameters["first"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert found.parameters["first"].default is inspect.Parameter.empty
        assert found.parameters["second"].kind is inspect.Parameter.KEYWORD_ONLY
        assert found.parameters["second"].annotation == "int"
        assert found.parameters["third"].default == 3.0

    @pytest.mark.parametrize("kind", [HttpCheck, Lifecycle, Poisson])
    def test_shipped_records_show_their_fields(self, kind):
        """A shipped record shows its own parameters and no **values."""
        parameters = inspect.signature(kind).parameters.values()
        assert [parameter.name for parameter in parameters]
        assert all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in parameters)

    @pytest.mark.parametrize("kind", [HttpCheck, Lifecycle, Poisson, Child])
    def test_the_types_of_the_fields_can_be_read(self, kind):
        """``typing.get_type_hints`` gives a type for each field, as tools that make forms and documentation need."""
        assert typing.get_type_hints(kind).keys() >= inspect.signature(kind).parameters.keys()

    def test_an_instance_has_no_signature_of_its_own(self):
        """An instance has no signature of its own: only its class has one."""
        assert not hasattr(Base("x"), "__signature__")


class TestConstruction:
    """What a constructor accepts and how it refuses the rest."""

    def test_a_positional_field_may_be_given_either_way(self):
        """Position and keyword give equal records, which pickle and replace as before."""
        assert Child("x", second=5) == Child(first="x", second=5)
        assert pickle.loads(pickle.dumps(Child("x"))) == Child("x")
        assert Child("x").replace(third=1.0) == Child("x", third=1.0)

    @pytest.mark.parametrize(
        ("make", "text"),
        [
            (lambda: Child("x", 2), "takes only first by position; its parameters are first, second, third"),
            (lambda: Lifecycle(5), "takes keyword arguments only; its parameters are failures"),
            (lambda: Child("x", first="y"), "two values for 'first'"),
            (lambda: Child("x", fourth=4), "no parameter 'fourth'; its parameters are first, second, third"),
            (lambda: Child(second=1), "needs 'first'"),
        ],
    )
    def test_a_wrong_call_says_which_parameters_there_are(self, make, text):
        """A TypeError names the class, what was wrong and the parameters that exist."""
        with pytest.raises(TypeError, match=text):
            make()

    @pytest.mark.parametrize(
        "make",
        [
            lambda: HttpCheck("/", headers={"X": "y"}),
            lambda: LoadReport(named_metrics={"a": 1.0}),
            lambda: Tracking(values={"a": 1}),
            lambda: ZoneAware(local_zone="a", local_zones=["a", "b"]),
        ],
    )
    def test_a_record_with_containers_has_a_hash(self, make):
        """Equal records have equal hashes, those with mappings and lists too, so that any may be a key."""
        assert {make(): 1}[make()] == 1
        assert hash(pickle.loads(pickle.dumps(make()))) == hash(make())

    def test_an_iterator_that_never_ends_is_refused(self):
        """Fields that take several values read an iterator up to a million items, sets too."""
        endless = (str(number) for number in itertools.count())
        with pytest.raises(ConfigurationError, match=r"^keys=.*at most 1,000,000 items"):
            SubsetSelector(keys=endless)

    @pytest.mark.parametrize("keys", [["a"], "a", None, frozenset(), frozenset({1})], ids=repr)
    def test_keys_of_subsets_are_a_set_of_names(self, keys):
        """Keys of subsets that are no set of names are refused by name."""
        with pytest.raises(ConfigurationError, match="keys="):
            SubsetSelector(keys=keys)
