package cartstream.peers;

import java.util.ArrayList;
import java.util.List;

/** A session that is not over, as far as is known. */
public final class Visit {
    static final long GAP = 30 * 60 * 1000L;
    static final long LIMIT = 24 * 60 * 60 * 1000L;
    static final int VIEWED_LIMIT = 20;

    public String device;
    public long startedAt;
    public long lastAt;
    public int events;
    public int orders;
    public int pageViews;
    /** The last products looked at, newest last. */
    public List<String> viewed = new ArrayList<>(4);

    public Visit() { }

    Visit(Click first) {
        device = first.device;
        startedAt = first.at;
        lastAt = first.at;
    }

    String id() {
        return device + ":" + startedAt;
    }

    /** Exactly the gap after the last event still belongs to the session. */
    boolean isOverAt(long at) {
        return at > lastAt + GAP || at >= startedAt + LIMIT;
    }

    long endsAt() {
        return Math.min(lastAt + GAP, startedAt + LIMIT);
    }

    void attend(Click click) {
        events++;
        lastAt = Math.max(lastAt, click.at);
        switch (click.kind) {
            case PAGE -> pageViews++;
            case ORDER -> orders++;
            case VIEW -> view(click.product);
            default -> { }
        }
    }

    private void view(String product) {
        if (product == null) return;
        viewed.remove(product);
        viewed.add(product);
        if (viewed.size() > VIEWED_LIMIT) viewed.remove(0);
    }
}
