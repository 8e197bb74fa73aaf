"""The kinds of shoppers: each takes a story at its start and plays it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cartstream.demo.story import Consent, Story

EVERYTHING: Consent = {"email": True, "sms": True, "push": True}
NOTHING: Consent = {"email": False, "sms": False, "push": False}
OFFICE_ZONES = ("Europe/Berlin", "Europe/London", "Africa/Johannesburg", "Asia/Kolkata", "America/New_York")
EVENING_ZONES = ("Pacific/Noumea", "Australia/Brisbane", "Asia/Tokyo")


@dataclass(frozen=True, slots=True)
class Kind:
    """`share` of all shoppers; `reached` are the channels that may have an address (each at least one); `hours` it takes at most."""

    play: Callable[[Story], object]
    share: float
    hours: float
    reached: tuple[str, ...] = ()
    zones: tuple[str, ...] = OFFICE_ZONES

    @property
    def name(self) -> str:
        return self.play.__name__


def passes_by(story: Story) -> None:
    """Nobody knows who it was."""
    story.on("phone").browse(story.draw.randint(1, 5))


def leaves_anonymous_cart(story: Story) -> None:
    story.on("laptop").browse().add(2)


def browses(story: Story) -> None:
    """Known, looks at products, leaves: a word after four hours."""
    story.on("laptop").sign_in(EVERYTHING).browse(story.draw.randint(1, 4))


def abandons_cart(story: Story) -> None:
    story.on("laptop").browse().sign_in(EVERYTHING).add(story.draw.randint(1, 3))


def abandons_checkout(story: Story) -> None:
    story.on("phone").sign_in(EVERYTHING).browse().add(2).check_out()


def buys_at_once(story: Story) -> None:
    story.on("laptop").sign_in(EVERYTHING).browse().add(2).check_out().wait(1, 4).buy()


def buys_on_another_device(story: Story) -> None:
    """Leaves the cart on the laptop, and before the reminder signs in on the phone, as a stranger until then, and buys."""
    story.on("laptop").browse().sign_in(EVERYTHING).add(2)
    story.wait(10, 35).on("phone").browse(1).sign_in({}).check_out().buy()


def buys_after_reminder(story: Story) -> None:
    story.on("laptop").sign_in(EVERYTHING).browse().add(2).wait(150, 420)
    device = story.draw.choice(("laptop", "phone"))
    story.on(device).browse(1)
    if device == "phone":
        story.sign_in({})
    story.check_out().buy()


def about_to_leave(story: Story) -> None:
    """Goes back to where they came from: a nudge at once. Some have a cart; all buy later."""
    story.on("phone").sign_in(EVERYTHING).browse(3)
    if story.draw.random() < 0.5:
        story.add(1)
    story.wait(1, 4).leave(story.draw.choice(("back_press", "pointer_top_exit")) if story.cart else "back_press")
    story.wait(120, 300).browse(1).buy()


def leaves_and_stays_away(story: Story) -> None:
    """Nudged, then reminded as anybody who leaves a cart."""
    story.on("phone").sign_in(EVERYTHING).browse(1).add(2).wait(1, 4).leave("pointer_top_exit")
    story.browse(0)


def moves_the_pointer(story: Story) -> None:
    """A pointer at the top with nothing in the cart says too little."""
    story.on("laptop").sign_in({"sms": True, "push": True}).browse(0).wait(0.5, 2).leave("pointer_top_exit")


def never_consented(story: Story) -> None:
    story.on("laptop").sign_in({} if story.draw.random() < 0.5 else NOTHING).browse().add(2).wait(1, 2).leave()


def revokes_before_reminder(story: Story) -> None:
    story.on("laptop").sign_in(EVERYTHING).browse(1).add(1).wait(35, 45).sign_in(NOTHING)


def revokes_after_reminder(story: Story) -> None:
    story.on("laptop").sign_in(EVERYTHING).browse(1).add(1).wait(180, 480).sign_in(NOTHING)


def empties_cart(story: Story) -> None:
    """Emptying is not abandoning; those who looked at products may hear of these."""
    story.on("laptop").sign_in(EVERYTHING).browse(story.draw.randint(0, 1)).add(2).empty()


def empties_cart_after_reminder(story: Story) -> None:
    story.on("laptop").sign_in(EVERYTHING).browse(0).add(2).wait(150, 320).browse(0).empty()


def changes_cart(story: Story) -> None:
    """Comes back before or after the reminder and puts something more in: the delays begin again."""
    story.on("laptop").sign_in(EVERYTHING).browse(1).add(1)
    story.wait(*((35, 50) if story.draw.random() < 0.5 else (150, 280))).browse(1).add(1)


def looks_in_again(story: Story) -> None:
    """Comes back, on another device, changes nothing: the delays count from then."""
    story.on("laptop").sign_in(EVERYTHING).browse(1).add(1).wait(150, 280).on("phone").browse(1).sign_in({})


def starts_checkout_later(story: Story) -> None:
    story.on("laptop").sign_in(EVERYTHING).browse(1).add(1).wait(150, 280).browse(0).check_out()


def changes_cart_often(story: Story) -> None:
    """By e-mail only: the third reminder of a day is one too many. Buys in the end."""
    story.on("laptop").sign_in(EVERYTHING).browse(0).add(1)
    for _ in range(2):
        story.wait(150, 280).browse(0).add(1)
    story.wait(150, 280).browse(0).buy()


def lives_far_east(story: Story) -> None:
    """It is evening there: SMS and push wait for the morning."""
    story.on("phone").sign_in(EVERYTHING).browse(1).add(1)


def nudged_far_east(story: Story) -> None:
    """In quiet hours nobody is nudged."""
    story.on("phone").sign_in(EVERYTHING).browse(1).wait(1, 3).leave()


KINDS = (
    Kind(passes_by, 0.30, 1),
    Kind(leaves_anonymous_cart, 0.04, 1),
    Kind(browses, 0.06, 6, ("email", "sms", "push")),
    Kind(abandons_cart, 0.08, 26, ("email", "sms", "push")),
    Kind(abandons_checkout, 0.05, 26, ("email", "sms", "push")),
    Kind(buys_at_once, 0.06, 1, ("email",)),
    Kind(buys_on_another_device, 0.06, 3, ("email", "sms", "push")),
    Kind(buys_after_reminder, 0.05, 10, ("email", "sms", "push")),
    Kind(about_to_leave, 0.07, 7, ("sms", "push")),
    Kind(leaves_and_stays_away, 0.02, 26, ("sms", "push")),
    Kind(moves_the_pointer, 0.02, 1, ("sms", "push")),
    Kind(never_consented, 0.03, 1, ("email", "sms", "push")),
    Kind(revokes_before_reminder, 0.02, 2, ("email", "sms", "push")),
    Kind(revokes_after_reminder, 0.02, 9, ("email", "sms", "push")),
    Kind(empties_cart, 0.02, 6, ("email", "sms", "push")),
    Kind(empties_cart_after_reminder, 0.01, 7, ("email", "push")),
    Kind(changes_cart, 0.03, 29.5, ("email", "sms", "push")),
    Kind(looks_in_again, 0.02, 29.5, ("email", "push")),
    Kind(starts_checkout_later, 0.01, 29.5, ("email", "push")),
    Kind(changes_cart_often, 0.01, 15, ("email",)),
    Kind(lives_far_east, 0.015, 26, ("sms", "push"), EVENING_ZONES),
    Kind(nudged_far_east, 0.005, 1, ("sms", "push"), EVENING_ZONES),
)
