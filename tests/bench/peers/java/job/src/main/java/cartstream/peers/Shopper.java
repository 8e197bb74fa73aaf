package cartstream.peers;

import java.util.HashMap;
import java.util.Map;

/** What the job keeps of one customer: the session, the cart, the marks of checkout and order. Public fields, as Flink wants them. */
public final class Shopper {
    public Visit visit;
    public Map<String, Line> lines = new HashMap<>(4);
    /** Event time of the cart's last change. */
    public long version;
    public String currency;
    public long orderMark;
    public long checkoutAt;

    /** Apply a click to the cart; whether it changed. */
    boolean shop(Click click) {
        boolean changed = switch (click.kind) {
            case ADD -> add(click);
            case REMOVE -> remove(click);
            case ORDER -> order(click);
            default -> false;
        };
        if (changed) {
            version = Math.max(click.at, version + 1);
            if (click.currency != null) currency = click.currency;
            if (lines.isEmpty()) checkoutAt = 0;
        }
        return changed;
    }

    /** The first step of a checkout since the last order or the empty cart. */
    boolean checkOut(Click click) {
        boolean first = checkoutAt <= orderMark;
        checkoutAt = Math.max(checkoutAt, click.at);
        return first;
    }

    private boolean add(Click click) {
        if (click.product == null) return false;
        Line line = lines.computeIfAbsent(click.product, unknown -> new Line());
        line.quantity += Math.max(1, click.quantity);
        line.price = click.price;
        line.at = click.at;
        return true;
    }

    /** Without a quantity, or with as many as there are, the product goes. */
    private boolean remove(Click click) {
        Line line = lines.get(click.product);
        if (line == null) return false;
        if (click.quantity == 0 || click.quantity >= line.quantity) {
            lines.remove(click.product);
        } else {
            line.quantity -= click.quantity;
            line.at = click.at;
        }
        return true;
    }

    /** What was bought leaves the cart: the product that the order names, or everything when it names none. */
    private boolean order(Click click) {
        orderMark = Math.max(orderMark, click.at);
        checkoutAt = 0;
        if (click.product != null) return lines.remove(click.product) != null;
        boolean any = !lines.isEmpty();
        lines.clear();
        return any;
    }
}
