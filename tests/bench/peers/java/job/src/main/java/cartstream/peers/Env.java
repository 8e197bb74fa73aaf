package cartstream.peers;

/** Settings: PEER_BROKERS, PEER_INPUT, PEER_OUTPUT, PEER_EVENTS, PEER_STATE (an empty folder), and what an engine adds. */
public final class Env {
    private Env() { }

    public static String text(String name) {
        String value = System.getenv(name);
        if (value == null || value.isEmpty()) throw new IllegalStateException(name + " is not set");
        return value;
    }

    public static long number(String name) {
        return Long.parseLong(text(name));
    }
}
