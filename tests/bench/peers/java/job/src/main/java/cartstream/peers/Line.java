package cartstream.peers;

/** A product in the cart; {@code at} is the event time of its latest change. */
public final class Line {
    public int quantity;
    public double price;
    public long at;

    public Line() { }

    public Line(int quantity, double price, long at) {
        this.quantity = quantity;
        this.price = price;
        this.at = at;
    }
}
