"""What others document, and who we say it is: for the test and docs/identity.md.

`python -m tests.identity.cases` writes it into the document.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.identity.people import Event, Person, device, email, everybody, identify, page, person, phone, user
from tests.support.case_tables import CaseTables

DOCUMENT = Path(__file__).parents[2] / "docs" / "identity.md"
JANE, JOE, HOME = "jane@example1.test", "joe@example.test", "+4915112345678"
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Case:
    """`people` are those who are known in the end, `refused` (type, reason) of each refused link, `same` and `apart` message ids whose
    events are one customer's, or each another's. `any_order`: whatever order the events arrive in."""

    name: str
    outcome: str
    why: str
    events: list[Event]
    people: set[Person]
    refused: tuple[tuple[str, str], ...] = ()
    same: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    any_order: bool = False


def alias(previous: str, current: str | None, at: int, device: str | None = None) -> Event:
    return page(device, at, current, type="alias", previousId=previous, messageId=f"alias-{previous}-{current}")


SEGMENT = [
    Case(
        "no profile matches",
        "a new customer",
        "flat matching: none found, create",
        [page("d1", 0, "abc123")],
        everybody((user("abc123"), device("d1"))),
    ),
    Case(
        "one profile matches",
        "the event's other identifiers become its own",
        "flat matching: one found, attach",
        [identify("d1", 0, "abc123"), identify("d1", 1, email=JANE)],
        everybody((user("abc123"), email(JANE), device("d1"))),
        any_order=True,
    ),
    Case(
        "several profiles match and no limit is passed",
        "they become one",
        "flat matching: several found, merge",
        [page("d1", 0, "abc123"), identify("d2", 1, email=JANE), identify("d3", 2, "abc123", email=JANE)],
        everybody((user("abc123"), email(JANE), device("d1"), device("d2"), device("d3"))),
        any_order=True,
    ),
    Case(
        "Unify's worked example: abc123 has Jane's address, then abc456 comes with it",
        "a second customer abc456; the address stays with abc123",
        "a user id is unique: the weaker address is set aside and the match tried again",
        [identify("d1", 0, "abc123", email=JANE), identify("d2", 1, "abc456", email=JANE)],
        everybody((user("abc123"), email(JANE), device("d1")), (user("abc456"), device("d2"))),
        refused=(("email", "unique"),),
        apart=("d1-0", "d2-1"),
    ),
    Case(
        "a sixth address within a year",
        "set aside; the event goes on as the customer's",
        "five annually is Segment's advice; at a limit resolution continues, no event is dropped",
        [identify("d1", n, "u1", email=f"a{n}@example.test") for n in range(6)],
        everybody((user("u1"), device("d1"), *(email(f"a{n}@example.test") for n in range(5)))),
        refused=(("email", "limit"),),
        same=("d1-0", "d1-5"),
    ),
    Case(
        "a sixth address a year after the first",
        "it is the customer's",
        "a limit with a window counts what was linked in any stretch of event time so long",
        [identify("d1", n * 75 * DAY_S, "u1", email=f"a{n}@example.test") for n in range(6)],
        everybody((user("u1"), device("d1"), *(email(f"a{n}@example.test") for n in range(6)))),
    ),
    Case(
        "a 21st device within thirty days",
        "it stays on its own; events with the login are the customer's",
        "20 anonymous ids a month; a login used on more is a till, a test or a leaked password",
        [page(f"d{n:02}", n, "u1") for n in range(21)],
        everybody((user("u1"), *(device(f"d{n:02}") for n in range(20)))),
        refused=(("device", "limit"),),
        same=("d00-0", "d20-20"),
    ),
    Case(
        "zeros, -1, null and anonymous as user id",
        "nobody is linked",
        "Segment suggests to block them",
        [page(f"d{n}", n, value) for n, value in enumerate(["00000000-0000-0000-0000-000000000000", "-1", "null", "anonymous"])],
        everybody(),
        apart=("d0-0", "d1-1", "d2-2", "d3-3"),
    ),
    Case(
        "a group call",
        "a group links nobody",
        "Unify takes group_id for an identifier; whoever works at the same company is not the same shopper",
        [page("d1", 0, type="group", groupId="acme"), page("d2", 1, type="group", groupId="acme")],
        everybody(),
        apart=("d1-0", "d2-1"),
    ),
    Case(
        "an alias call",
        "a request to link like any other",
        "Unify ignores alias; PostHog and mParticle do not, and shops send it",
        [page("d1", 0), alias("d1", "u1", 1)],
        everybody((user("u1"), device("d1"))),
        any_order=True,
    ),
]

SNOWPLOW = [
    Case(
        "Alice, then Bob on one device",
        "each event is its own user's; the device stays Alice's and is shared from then on",
        "one identifier is unique: the event keeps its user",
        [page("d1", 0, "alice"), page("d1", 1, "bob")],
        everybody((user("alice"), device("d1")), (user("bob"),)),
        refused=(("device", "unique"),),
        apart=("d1-0", "d1-1"),
    ),
    Case(
        "an anonymous event on a shared device",
        "it is neither's, always the same nobody's",
        "guessing would send Alice what Bob looked at",
        [page("d1", 0, "alice"), page("d1", 1, "bob"), page("d1", 2), page("d1", 3)],
        everybody((user("alice"), device("d1")), (user("bob"),)),
        refused=(("device", "unique"),),
        same=("d1-2", "d1-3"),
        apart=("d1-0", "d1-1", "d1-2"),
    ),
    Case(
        "two who turn out to be one",
        "the older one's id stays",
        "so links in reports and caps in journeys hold on to what is older",
        [page("d1", 0), page("d2", 1, "u1"), page("d1", 2, "u1")],
        everybody((user("u1"), device("d1"), device("d2"))),
        same=("d1-0", "d2-1", "d1-2"),
        any_order=True,
    ),
    Case(
        "many devices behind one network_userid",
        "they stay apart",
        "of Snowplow's own sample 55 browsers share one: what names a network links nobody",
        [page(f"d{n}", n, properties={"network_userid": "n1"}, context={"ip": "10.0.0.1"}) for n in range(3)],
        everybody(),
        apart=("d0-0", "d1-1", "d2-2"),
    ),
]

POSTHOG = [
    Case(
        "identify on a device that nobody knows",
        "the anonymous person gets the id and keeps what was done",
        "neither is identified: attach",
        [page("d1", 0), identify("d1", 1, "u1")],
        everybody((user("u1"), device("d1"))),
        same=("d1-0", "d1-1"),
        any_order=True,
    ),
    Case(
        "identify as somebody known, from a new device",
        "the two become one",
        "the source is anonymous: merge",
        [page("d1", 0, "u1"), page("d2", 1), identify("d2", 2, "u1")],
        everybody((user("u1"), device("d1"), device("d2"))),
        same=("d1-0", "d2-1", "d2-2"),
        any_order=True,
    ),
    Case(
        "identify as u2 on the device of u1",
        "no merge; the event is u2's",
        "cannot_merge_already_identified: the event is used all the same",
        [identify("d1", 0, "u1"), identify("d1", 1, "u2")],
        everybody((user("u1"), device("d1")), (user("u2"),)),
        refused=(("device", "unique"),),
        apart=("d1-0", "d1-1"),
    ),
    Case(
        "identify(null) on many devices (#5527)",
        "they stay apart",
        "the null of a broken tracker made customers of thousands of devices",
        [identify(f"d{n}", n, value) for n, value in enumerate(["null", "NULL", '"null"', "'None'", "undefined", " ", "[object Object]"])],
        everybody(),
        apart=tuple(f"d{n}-{n}" for n in range(7)),
    ),
    Case(
        "alias of an id to itself",
        "nothing",
        "same id: no-op",
        [page("d1", 0, "u1"), alias("u1", "u1", 1, "d1")],
        everybody((user("u1"), device("d1"))),
        any_order=True,
    ),
    Case(
        "alias from one user id to another",
        "two people; the previous id counts as a device's",
        "PostHog refuses an identified source; here no event joins two logins, in either direction",
        [page("d1", 0, "u1"), page("d2", 1, "u2"), alias("u1", "u2", 2)],
        everybody((user("u1"), device("d1")), (user("u2"), device("d2"), device("u1"))),
        any_order=True,
    ),
    Case(
        "a chain of aliases, told in any order (#15518)",
        "one customer",
        "in PostHog the third alias fails when it comes before the second",
        [alias("a", "u1", 0), alias("b", "u1", 1), page("b", 2), alias("c", "u1", 3)],
        everybody((user("u1"), device("a"), device("b"), device("c"))),
        any_order=True,
    ),
    Case(
        "the server knows the login before the browser says who it is (#9182)",
        "one customer",
        "PostHog held events back for a minute and gave that up; a later link joins what was apart",
        [page("d1", 0), page(None, 1, "u1", messageId="server"), identify("d1", 2, "u1")],
        everybody((user("u1"), device("d1"), device("user:u1"))),
        same=("d1-0", "server", "d1-2"),
        any_order=True,
    ),
]

MPARTICLE = [
    Case(
        "a login and somebody else's address in one event",
        "the login decides",
        "hierarchy: customer id before e-mail",
        [identify("d1", 0, "u1", email=JANE), page("d2", 1, "u2"), identify("d2", 2, "u2", email=JANE)],
        everybody((user("u1"), email(JANE), device("d1")), (user("u2"), device("d2"))),
        refused=(("email", "unique"),),
        same=("d2-1", "d2-2"),
    ),
    Case(
        "an address and somebody else's phone number in one event",
        "one customer",
        "mParticle takes the profile of the stronger one; here neither is unique, so they are joined",
        [identify("d1", 0, email=JANE), identify("d2", 1, phone=HOME), identify("d3", 2, email=JANE, phone=HOME)],
        everybody((email(JANE), phone(HOME), device("d1"), device("d2"), device("d3"))),
        any_order=True,
    ),
    Case(
        "a new customer logs in",
        "the anonymous profile is theirs",
        "convert: the id stays",
        [page("d1", 0), page("d1", 1, "u1")],
        everybody((user("u1"), device("d1"))),
        same=("d1-0", "d1-1"),
    ),
    Case(
        "a known customer comes back on a new device",
        "what was done there before the login is theirs",
        "mParticle leaves that open; a purchase before the login must stop the reminder",
        [page("d1", 0, "u1"), page("d2", 1), page("d2", 2, "u1")],
        everybody((user("u1"), device("d1"), device("d2"))),
        same=("d1-0", "d2-1", "d2-2"),
    ),
    Case(
        "logout with reset(): the tracker takes a new anonymous id",
        "a new customer",
        "after a logout, a new profile",
        [page("d1", 0, "u1"), page("d1-new", 1)],
        everybody((user("u1"), device("d1"))),
        apart=("d1-0", "d1-new-1"),
    ),
    Case(
        "logout without reset()",
        "still the same customer, until somebody else logs in",
        "most shops never reset: who leaves a cart after a logout is who filled it",
        [page("d1", 0, "u1"), page("d1", 1), page("d1", 2, "u2"), page("d1", 3)],
        everybody((user("u1"), device("d1")), (user("u2"),)),
        refused=(("device", "unique"),),
        same=("d1-0", "d1-1"),
        apart=("d1-1", "d1-2", "d1-3"),
    ),
    Case(
        "alias of a device that was last seen half a year ago",
        "all of it is theirs",
        "mParticle copies at most 90 days; sessions and carts here expire by themselves",
        [page("d1", 0), page("d2", 180 * DAY_S, "u1"), alias("d1", "u1", 180 * DAY_S + 1)],
        everybody((user("u1"), device("d1"), device("d2"))),
        same=("d1-0", f"d2-{180 * DAY_S}"),
    ),
]

UNOMI = [
    Case(
        "the session of B, when A logs in in it",
        "no merge; this event and A's next ones are A's",
        "user switch: Unomi gives the session to A; here a session is a device's, and B's part stays B's",
        [page("d1", 0, "b"), page("d1", 1, "a"), page("d1", 2, "a")],
        everybody((user("b"), device("d1")), (user("a"),)),
        refused=(("device", "unique"),),
        same=("d1-1", "d1-2"),
        apart=("d1-0", "d1-1"),
    ),
    Case(
        "profiles with one address, found by the merge property",
        "one customer",
        "Unomi merges up to 50 of them, in an arbitrary choice; here all, up to the limits",
        [identify(f"d{n}", n, email=JOE) for n in range(4)],
        everybody((email(JOE), *(device(f"d{n}") for n in range(4)))),
        any_order=True,
    ),
]

OTHERS = [
    Case(
        "RudderStack: reset() that keeps the anonymous id (rudder-sdk-js#206)",
        "four logins are four people",
        "in Mixpanel all four became one",
        [page("d1", n, f"u{n}") for n in range(4)],
        {person(user("u0"), device("d1")), *(person(user(f"u{n}")) for n in range(1, 4))},
        refused=(("device", "unique"),) * 3,
        apart=tuple(f"d1-{n}" for n in range(4)),
    ),
    Case(
        "Tracardi: two primary ids in one profile",
        "two people",
        "Tracardi logs a warning and merges",
        [identify("d1", 0, "u1", email=JANE), identify("d2", 1, "u2"), identify("d3", 2, email=JANE), identify("d3", 3, "u2", email=JANE)],
        everybody((user("u1"), email(JANE), device("d1"), device("d3")), (user("u2"), device("d2"))),
        refused=(("email", "unique"), ("device", "unique")),
    ),
]

TABLES: dict[str, list[Case]] = {
    "Segment": SEGMENT,
    "Snowplow": SNOWPLOW,
    "PostHog": POSTHOG,
    "mParticle": MPARTICLE,
    "Unomi": UNOMI,
    "RudderStack, Tracardi": OTHERS,
}

DOCUMENTED = CaseTables(DOCUMENT, TABLES)

if __name__ == "__main__":
    DOCUMENTED.write()
