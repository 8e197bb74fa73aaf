package cartstream.peers;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.LocalDate;

/** A click of a known customer, decoded to the fields that the job uses. Times are epoch milliseconds. */
public final class Click {
    /** What a click means to sessions and carts. */
    public enum Kind { OTHER, PAGE, VIEW, ADD, REMOVE, CHECKOUT, ORDER, EXIT }

    static final JsonFactory JSON = new JsonFactory();
    private static final int ISO_LENGTH = "2024-03-13T10:21:14.000Z".length();

    public String customer;
    public String device;
    public String messageId;
    public Kind kind = Kind.OTHER;
    public long at;
    public String product;
    public double price;
    /** 0 when the event does not say. */
    public int quantity;
    public String currency;
    public String trigger;

    /** Whether a record of the topic is a click: watermarks and other control records are Avro. */
    public static boolean is(byte[] value) {
        return value != null && value.length > 0 && value[0] == '{';
    }

    public static Click parse(byte[] key, byte[] value) {
        Click click = new Click();
        click.customer = new String(key, StandardCharsets.UTF_8);
        try (JsonParser json = JSON.createParser(value)) {
            json.nextToken();
            click.readEnvelope(json);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return click;
    }

    private void readEnvelope(JsonParser json) throws IOException {
        String type = "";
        String event = "";
        for (String field = json.nextFieldName(); field != null; field = json.nextFieldName()) {
            switch (field) {
                case "type" -> type = json.nextTextValue();
                case "event" -> event = json.nextTextValue();
                case "messageId" -> messageId = json.nextTextValue();
                case "anonymousId" -> device = json.nextTextValue();
                case "timestamp" -> at = millis(json.nextTextValue());
                case "properties" -> readProperties(json);
                default -> skip(json);
            }
        }
        kind = type.equals("track") ? kindOf(event) : type.equals("page") || type.equals("screen") ? Kind.PAGE : Kind.OTHER;
    }

    private void readProperties(JsonParser json) throws IOException {
        if (json.nextToken() != JsonToken.START_OBJECT) {
            json.skipChildren();
            return;
        }
        for (String field = json.nextFieldName(); field != null; field = json.nextFieldName()) {
            switch (field) {
                case "product_id" -> product = json.nextTextValue();
                case "quantity" -> quantity = json.nextIntValue(0);
                case "currency" -> currency = json.nextTextValue();
                case "trigger" -> trigger = json.nextTextValue();
                case "price" -> {
                    json.nextToken();
                    price = json.getDoubleValue();
                }
                default -> skip(json);
            }
        }
    }

    private static void skip(JsonParser json) throws IOException {
        json.nextToken();
        json.skipChildren();
    }

    private static Kind kindOf(String event) {
        return switch (event) {
            case "Product Viewed" -> Kind.VIEW;
            case "Product Added" -> Kind.ADD;
            case "Product Removed" -> Kind.REMOVE;
            case "Checkout Started" -> Kind.CHECKOUT;
            case "Order Completed" -> Kind.ORDER;
            case "Exit Intent" -> Kind.EXIT;
            default -> Kind.OTHER;
        };
    }

    /** Instant.parse takes ten times as long, so it is left for forms other than the usual one. */
    private static long millis(String iso) {
        if (iso.length() != ISO_LENGTH || iso.charAt(19) != '.' || iso.charAt(23) != 'Z') {
            return Instant.parse(iso).toEpochMilli();
        }
        long day = LocalDate.of(number(iso, 0, 4), number(iso, 5, 7), number(iso, 8, 10)).toEpochDay();
        long seconds = (day * 24 + number(iso, 11, 13)) * 3600 + number(iso, 14, 16) * 60 + number(iso, 17, 19);
        return seconds * 1000 + number(iso, 20, 23);
    }

    private static int number(String text, int from, int to) {
        return Integer.parseInt(text, from, to, 10);
    }
}
