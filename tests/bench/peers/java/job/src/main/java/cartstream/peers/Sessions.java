package cartstream.peers;

import java.util.function.Consumer;

/** The job: what one click changes, and what is told of it. Every peer runs these rules; docs/peers.md has them in words. */
public final class Sessions {
    private Sessions() { }

    /** A session ends when the next click of its customer finds it over. {@code told} gets the facts, in order, as JSON. */
    public static void apply(Shopper shopper, Click click, Consumer<byte[]> told) {
        Visit before = shopper.visit;
        if (before != null && before.isOverAt(click.at)) {
            told.accept(Fact.ended(click.customer, before));
            shopper.visit = null;
        }
        if (shopper.visit == null) {
            shopper.visit = new Visit(click);
            told.accept(Fact.started(click, shopper.visit));
        }
        shopper.visit.attend(click);
        String kind = kindOf(shopper, click);
        if (kind != null) told.accept(Fact.of(kind, click, shopper));
    }

    private static String kindOf(Shopper shopper, Click click) {
        boolean changed = shopper.shop(click);
        return switch (click.kind) {
            case ORDER -> "order_placed";
            case EXIT -> "exit_signal";
            case CHECKOUT -> shopper.checkOut(click) ? "checkout_started" : null;
            default -> !changed ? null : shopper.lines.isEmpty() ? "cart_emptied" : "cart_updated";
        };
    }
}
