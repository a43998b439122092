"""Lists of keys and data keys: pages and filters."""

import pytest

from tests.server.actions.conftest import Parameters, b64


@pytest.fixture
def keys(server, clock):
    """Keys by alias, made a second apart: of every state, two origins, two usages."""
    made = {}
    for alias in ("enabled", "disabled", "pending", "archived", "waiting", "pair", "tagged"):
        clock.now += 1
        extra: Parameters = {}
        if alias == "waiting":
            extra = {"Type": 2}
        elif alias == "pair":
            extra = {"KeyUsage": "ASYMMETRIC_SIGN_VERIFY_ECC"}
        elif alias == "tagged":
            extra = {"Tags": [{"TagKey": "env", "TagValue": "dev"}]}
        made[alias] = server.key(alias, **extra)
    server("DisableKeys", KeyIds=[made["disabled"], made["pending"]])
    server("ScheduleKeyDeletion", KeyId=made["pending"], PendingWindowInDays=7)
    server("ArchiveKey", KeyId=made["archived"])
    return made


def aliases(server, **filters):
    """Aliases of ListKeyDetail, the oldest first."""
    answer = server("ListKeyDetail", OrderType=1, **filters)
    names = [key["Alias"] for key in answer["KeyMetadatas"]]
    assert len(names) == answer["TotalCount"] or "Limit" in filters or "Offset" in filters
    return names


SYMMETRIC = ["enabled", "disabled", "pending", "archived", "waiting", "tagged"]
ALL = ["enabled", "disabled", "pending", "archived", "waiting", "pair", "tagged"]


def test_list_keys_has_the_keys_that_can_be_used_or_made_usable(server, keys):
    """Enabled, Disabled and PendingImport ones."""
    listed = server("ListKeys")
    wanted = [keys[alias] for alias in ("enabled", "disabled", "waiting", "pair", "tagged")]
    assert [key["KeyId"] for key in listed["Keys"]] == wanted
    assert listed["TotalCount"] == 5


FILTERS: list[tuple[Parameters, list[str]]] = [
    ({}, SYMMETRIC),
    ({"KeyUsage": "ALL"}, ALL),
    ({"KeyUsage": ""}, SYMMETRIC),
    ({"KeyUsage": "ASYMMETRIC_SIGN_VERIFY_ECC"}, ["pair"]),
    ({"KeyUsage": "ASYMMETRIC_DECRYPT_SM2"}, []),
    ({"KeyState": 1}, ["enabled", "tagged"]),
    ({"KeyState": 2}, ["disabled"]),
    ({"KeyState": 3}, ["pending"]),
    ({"KeyState": 4}, ["waiting"]),
    ({"KeyState": 5}, ["archived"]),
    ({"KeyState": "0"}, SYMMETRIC),
    ({"Origin": "EXTERNAL"}, ["waiting"]),
    ({"Origin": "TENCENT_KMS", "KeyState": 1}, ["enabled", "tagged"]),
    ({"Origin": "ALL"}, SYMMETRIC),
    ({"SearchKeyAlias": "ABLED"}, ["enabled", "disabled"]),
    ({"SearchKeyAlias": "nothing"}, []),
    ({"TagFilters": [{"TagKey": "env"}]}, ["tagged"]),
    ({"TagFilters": [{"TagKey": "env", "TagValue": ["x", "dev"]}]}, ["tagged"]),
    ({"TagFilters": [{"TagKey": "env", "TagValue": ["x"]}]}, []),
    ({"TagFilters": [{"TagKey": "env"}, {"TagKey": "more"}]}, []),
    ({"Role": 1}, []),
    ({"HsmClusterId": "default"}, SYMMETRIC),
    ({"Offset": 1, "Limit": 2}, ["disabled", "pending"]),
    ({"Offset": 100}, []),
    ({"MemberAccounts": [{"MemberUin": 1, "MemberAppId": 2}]}, SYMMETRIC),
]


def test_list_key_detail_filters(server, keys):
    """By default only ENCRYPT_DECRYPT keys, of all states."""
    for filters, wanted in FILTERS:
        assert aliases(server, **filters) == wanted, filters


def test_the_newest_key_comes_first_unless_said_otherwise(server, keys):
    """OrderType 0."""
    listed = server("ListKeyDetail")["KeyMetadatas"]
    assert [key["Alias"] for key in listed] == SYMMETRIC[::-1]


def test_keys_are_found_by_a_part_of_their_id(server, keys):
    """As by a part of the alias."""
    assert aliases(server, SearchKeyAlias=keys["enabled"][4:20]) == ["enabled"]


def test_pages_have_1_to_200_entries(server):
    """And clusters are none."""
    for action in ("ListKeys", "ListKeyDetail", "ListDataKeys"):
        for wrong in ({"Limit": 201}, {"Limit": 0}, {"Offset": -1}, {"Role": 2}):
            assert server.code(action, **wrong).startswith("InvalidParameter")
        code = server.code(action, HsmClusterId="x")
        assert code == "InvalidParameterValue.InvalidHsmClusterId"


def test_filters_that_are_none_are_refused(server):
    """Origins are case-sensitive."""
    for wrong in ({"Origin": "external"}, {"KeyState": 6}, {"OrderType": 2}, {"KeyUsage": "X"}):
        assert server.code("ListKeyDetail", **wrong) == "InvalidParameter"


def test_pages_are_complete_and_do_not_overlap(server):
    """Whatever their size."""
    wanted = [server.key(f"key{number}") for number in range(25)]
    for size in (1, 7, 10, 200):
        found: list[str] = []
        while True:
            page = server("ListKeys", Offset=len(found), Limit=size)
            assert page["TotalCount"] == 25
            if not page["Keys"]:
                break
            found += [key["KeyId"] for key in page["Keys"]]
        assert found == wanted


def test_data_keys_are_listed_and_filtered(server, clock):
    """As keys are."""
    first, second = server.key("first"), server.key("second")
    made = {}
    for name, key, size in (("a", first, 16), ("bx", first, 32), ("x", second, 32)):
        clock.now += 1
        request = {"NumberOfBytes": size, "IsHostedByKms": 1, "DataKeyName": name}
        tags = [{"TagKey": "env", "TagValue": name}]
        made[name] = server("GenerateDataKey", KeyId=key, Tags=tags, **request)["DataKeyId"]
    request = {"ImportType": 2, "ImportKeyMaterial": b64(b"d"), "KeyId": second}
    server("ImportDataKey", DataKeyName="brought", **request)
    server("DisableDataKey", DataKeyId=made["x"])

    def names(**filters):
        listed = server("ListDataKeyDetail", **filters)["DataKeyMetadatas"]
        return [one["DataKeyName"] for one in listed]

    assert server("ListDataKeys", Limit=1, Offset=1) == {
        "DataKeys": [{"DataKeyId": made["bx"]}],
        "TotalCount": 4,
    }
    assert names() == ["brought", "x", "bx", "a"]
    assert names(OrderType=1) == ["a", "bx", "x", "brought"]
    assert names(KeyId=first) == ["bx", "a"]
    assert names(DataKeyLen=32) == ["x", "bx"]
    assert names(KeyState=2) == ["x"]
    assert names(Origin="EXTERNAL") == ["brought"]
    assert names(SearchKeyAlias="X") == ["x", "bx"]
    assert names(TagFilters=[{"TagKey": "env", "TagValue": ["a"]}]) == ["a"]
    assert names(Role=1) == []
    listed = server("ListDataKeyDetail")["DataKeyMetadatas"]
    assert [one["KeyName"] for one in listed] == ["second", "second", "first", "first"]


def test_lists_may_be_forbidden(server, alice):
    """As every other action."""
    actions = ("ListKeys", "ListKeyDetail", "ListDataKeys", "ListDataKeyDetail")
    alice.denied = {(action, "") for action in actions}
    for action in actions:
        assert server.code(action) == "UnauthorizedOperation"
