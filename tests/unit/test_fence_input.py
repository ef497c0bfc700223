"""Fences out of JSON and files, without a database."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofence.shapes import Kind
from tracking.errors import InputError
from tracking.fence_bulk import Bulk, counts, read_bulk
from tracking.fence_import import read_import
from tracking.fence_input import read_fence, stored_json
from tracking.fences import Audience, Buffers, FenceDraft, FenceOptions, Saved

SQUARE = {
    "type": "Polygon",
    "coordinates": [[[5.0, 52.0], [5.2, 52.0], [5.2, 52.2], [5.0, 52.2], [5.0, 52.0]]],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def fence(**members: object) -> FenceDraft:
    return read_fence(json.dumps({"id": "a", "shape": SQUARE, **members}).encode())


class TestOne:
    def test_what_is_left_out_is_the_default(self) -> None:
        draft = fence()
        assert (draft.id, draft.name, draft.options) == ("a", "a", FenceOptions())
        assert (draft.attrs, draft.effective_from_us, draft.notes) == (b"{}", None, ())
        assert draft.shape.kind is Kind.POLYGON

    def test_members_become_options(self) -> None:
        draft = fence(
            buffers={"min_fixes": 2}, applies_to={"tags": ["b"]}, normal="inside", crossed=False
        )
        assert draft.options == FenceOptions(
            buffers=Buffers(min_fixes=2),
            applies_to=Audience(tags=("b",)),
            normal="inside",
            crossed=False,
        )

    def test_null_means_the_same_as_left_out(self) -> None:
        names = ("name", "layer", "buffers", "dwell_s", "schedule", "applies_to", "effective_from")
        assert fence(**dict.fromkeys(names)) == fence()

    def test_the_shape_is_kept_as_given_without_what_is_not_its(self) -> None:
        draft = fence(shape={**SQUARE, "bbox": [1, 2, 3, 4]})
        assert json.loads(draft.document) == SQUARE

    def test_a_fault_in_a_list_is_named_with_its_place(self) -> None:
        with pytest.raises(InputError) as caught:
            read_fence(b'{"id": "a"}', where="fences[3]")
        assert caught.value.field == "fences[3].shape"
        assert str(caught.value) == "fences[3].shape: it is missing"

    def test_an_escaped_backslash_is_no_nul(self) -> None:
        assert stored_json({"a": "\\u0000"}, "attrs") == b'{"a":"\\\\u0000"}'
        with pytest.raises(InputError, match=r"U\+0000"):
            stored_json({"a": "\\\0"}, "attrs")

    @given(st.dictionaries(st.sampled_from(["shape", "attrs", "buffers", "schedule", "x"]), JSON))
    def test_whatever_is_sent_is_a_fence_or_a_named_fault(self, members: dict[str, Any]) -> None:
        with suppress(InputError):
            assert fence(**members).id == "a"

    @given(st.binary(max_size=40))
    def test_bytes_that_are_no_json_are_a_fault(self, raw: bytes) -> None:
        with pytest.raises(InputError):
            read_fence(raw)


class TestBulk:
    def bulk(self, *fences: object) -> Bulk:
        raw = json.dumps(fences).encode()
        return read_bulk(msgspec.json.decode(raw, type=list[msgspec.Raw]), "fences")

    def test_what_became_of_each_is_told_in_the_order_given(self) -> None:
        bulk = self.bulk({"id": "x"}, {"id": "a", "shape": SQUARE}, 7, {"id": "b", "shape": SQUARE})
        assert len(bulk) == 4
        items = bulk.told([Saved("a", "created", 1), Saved("b", "unchanged", 5)])
        assert [(item.id, item.outcome, item.version) for item in items] == [
            ("x", "refused", None),
            ("a", "created", 1),
            (None, "refused", None),
            ("b", "unchanged", 5),
        ]
        assert items[2].field == "fences[2]"
        assert counts(items) == {
            "created": 1, "changed": 0, "unchanged": 1, "refused": 2, "repaired": 0
        }  # fmt: skip

    def test_the_second_of_one_id_is_refused(self) -> None:
        bulk = self.bulk({"id": "a", "shape": SQUARE}, {"id": "a", "shape": SQUARE})
        assert [str(fault.error) for fault in bulk.faults] == ["fences[1].id: 'a' is there twice"]


class TestImport:
    def ids(self, *features: dict[str, Any], prefix: str = "") -> list[str]:
        document = {"type": "FeatureCollection", "features": list(features)}
        data = json.dumps(document).encode()
        bulk = read_import(data, name="f.json", prefix=prefix)
        assert bulk.faults == []
        return [draft.id for draft in bulk.drafts]

    def feature(self, **more: object) -> dict[str, Any]:
        return {"type": "Feature", "geometry": SQUARE, "properties": {}, **more}

    def named(self, name: str) -> dict[str, Any]:
        return self.feature(properties={"name": name})

    def test_ids_are_those_of_the_file_or_of_names_as_plain_words(self) -> None:
        features = [
            self.feature(id=36061),
            self.feature(id="a b/c"),
            self.named("Zürich HB"),
            self.named("Zürich HB"),
            self.named("東京"),
            self.feature(),
        ]
        assert self.ids(*features) == [
            "36061", "a-b-c", "Zurich-HB", "Zurich-HB-2", "features-4", "features-5",
        ]  # fmt: skip

    def test_a_prefix_is_in_front_of_each(self) -> None:
        assert self.ids(self.feature(id="1"), self.named("x"), prefix="nl-") == ["nl-1", "nl-x"]

    @given(st.lists(st.text(max_size=300) | st.sampled_from(["a", "a-2", "a-3"]), max_size=6))
    def test_whatever_the_names_every_fence_has_an_id_of_its_own(self, names: list[str]) -> None:
        features = [self.named(name) for name in names]
        found = self.ids(*features)
        assert len(set(found)) == len(names)
        assert self.ids(*features) == found

    def test_one_id_twice_is_a_fault(self) -> None:
        document = {
            "type": "FeatureCollection",
            "features": [self.feature(id="a"), self.feature(id="a")],
        }
        bulk = read_import(json.dumps(document).encode(), name="f.json")
        assert [fault.error.field for fault in bulk.faults] == ["features[1].id"]

    def test_progress_is_told(self) -> None:
        document = {"type": "FeatureCollection", "features": [self.named("a"), self.named("b")]}
        steps: list[tuple[int, int]] = []
        read_import(
            json.dumps(document).encode(),
            name="f.json",
            step=lambda done, total: steps.append((done, total)),
        )
        assert steps == [(1, 2), (2, 2)]
