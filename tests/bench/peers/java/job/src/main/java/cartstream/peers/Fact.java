package cartstream.peers;

import com.fasterxml.jackson.core.JsonGenerator;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;

/**
 * The output records, as JSON. A session's start and end tell of the session, the cart's changes, checkouts and orders of the cart
 * after them, and an exit signal of both.
 */
final class Fact {
    private static final int TYPICAL_BYTES = 512;

    private Fact() { }

    static byte[] started(Click click, Visit visit) {
        return written("session_started", visit.id() + ":started", click.customer, visit.device, click.at, visit, null, null);
    }

    static byte[] ended(String customer, Visit visit) {
        return written("session_ended", visit.id() + ":ended", customer, visit.device, visit.endsAt(), visit, null, null);
    }

    static byte[] of(String kind, Click click, Shopper shopper) {
        Visit visit = click.kind == Click.Kind.EXIT ? shopper.visit : null;
        return written(kind, click.messageId + ":" + kind, click.customer, click.device, click.at, visit, shopper, click);
    }

    private static byte[] written(
            String kind, String id, String customer, String device, long at, Visit visit, Shopper cart, Click cause) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(TYPICAL_BYTES);
        try (JsonGenerator json = Click.JSON.createGenerator(bytes)) {
            json.writeStartObject();
            json.writeStringField("id", id);
            json.writeStringField("kind", kind);
            json.writeStringField("customer_id", customer);
            json.writeStringField("device_id", device);
            json.writeNumberField("at", at);
            if (visit != null) writeSession(json, visit);
            if (cart != null && !cart.lines.isEmpty()) writeCart(json, cart);
            if (cause != null && cause.kind == Click.Kind.EXIT) {
                json.writeStringField("trigger", cause.trigger == null ? "unknown" : cause.trigger);
            }
            if (cause != null && cause.kind == Click.Kind.ORDER) writeBought(json, cause);
            json.writeEndObject();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return bytes.toByteArray();
    }

    private static void writeSession(JsonGenerator json, Visit visit) throws IOException {
        json.writeObjectFieldStart("session");
        json.writeStringField("session_id", visit.id());
        json.writeNumberField("started_at", visit.startedAt);
        json.writeNumberField("ended_at", visit.lastAt);
        json.writeNumberField("events", visit.events);
        json.writeNumberField("orders", visit.orders);
        json.writeNumberField("page_views", visit.pageViews);
        json.writeArrayFieldStart("viewed");
        for (String product : visit.viewed) json.writeString(product);
        json.writeEndArray();
        json.writeEndObject();
    }

    private static void writeCart(JsonGenerator json, Shopper shopper) throws IOException {
        json.writeObjectFieldStart("cart");
        json.writeNumberField("version", shopper.version);
        json.writeArrayFieldStart("items");
        double value = 0;
        for (Map.Entry<String, Line> entry : shopper.lines.entrySet()) {
            Line line = entry.getValue();
            value += line.quantity * line.price;
            json.writeStartObject();
            json.writeStringField("product_id", entry.getKey());
            json.writeNumberField("quantity", line.quantity);
            json.writeNumberField("price", line.price);
            json.writeEndObject();
        }
        json.writeEndArray();
        json.writeNumberField("value", Math.round(value * 100) / 100.0);
        json.writeStringField("currency", shopper.currency);
        json.writeEndObject();
    }

    private static void writeBought(JsonGenerator json, Click order) throws IOException {
        json.writeArrayFieldStart("bought");
        if (order.product != null) json.writeString(order.product);
        json.writeEndArray();
    }
}
