package cartstream.peers;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serializer;

/** A shopper's state as compact bytes. The job never keeps one without a session. */
final class ShopperSerde implements Serde<Shopper> {
    private static final int TYPICAL_BYTES = 256;

    @Override
    public Serializer<Shopper> serializer() {
        return (topic, shopper) -> shopper == null ? null : write(shopper);
    }

    @Override
    public Deserializer<Shopper> deserializer() {
        return (topic, bytes) -> bytes == null ? null : read(bytes);
    }

    private static byte[] write(Shopper shopper) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(TYPICAL_BYTES);
        try (DataOutputStream out = new DataOutputStream(bytes)) {
            writeVisit(out, shopper.visit);
            out.writeLong(shopper.version);
            out.writeUTF(shopper.currency == null ? "" : shopper.currency);
            out.writeLong(shopper.orderMark);
            out.writeLong(shopper.checkoutAt);
            out.writeShort(shopper.lines.size());
            for (Map.Entry<String, Line> entry : shopper.lines.entrySet()) {
                out.writeUTF(entry.getKey());
                out.writeInt(entry.getValue().quantity);
                out.writeDouble(entry.getValue().price);
                out.writeLong(entry.getValue().at);
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return bytes.toByteArray();
    }

    private static void writeVisit(DataOutputStream out, Visit visit) throws IOException {
        out.writeUTF(visit.device);
        out.writeLong(visit.startedAt);
        out.writeLong(visit.lastAt);
        out.writeInt(visit.events);
        out.writeInt(visit.orders);
        out.writeInt(visit.pageViews);
        out.writeShort(visit.viewed.size());
        for (String product : visit.viewed) out.writeUTF(product);
    }

    private static Shopper read(byte[] bytes) {
        Shopper shopper = new Shopper();
        try (DataInputStream in = new DataInputStream(new ByteArrayInputStream(bytes))) {
            shopper.visit = readVisit(in);
            shopper.version = in.readLong();
            String currency = in.readUTF();
            shopper.currency = currency.isEmpty() ? null : currency;
            shopper.orderMark = in.readLong();
            shopper.checkoutAt = in.readLong();
            for (int left = in.readShort(); left > 0; left--) {
                shopper.lines.put(in.readUTF(), new Line(in.readInt(), in.readDouble(), in.readLong()));
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        return shopper;
    }

    private static Visit readVisit(DataInputStream in) throws IOException {
        Visit visit = new Visit();
        visit.device = in.readUTF();
        visit.startedAt = in.readLong();
        visit.lastAt = in.readLong();
        visit.events = in.readInt();
        visit.orders = in.readInt();
        visit.pageViews = in.readInt();
        for (int left = in.readShort(); left > 0; left--) visit.viewed.add(in.readUTF());
        return visit;
    }
}
