package cartstream.peers;

import java.nio.charset.StandardCharsets;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * The job on a local Flink cluster of one slot: exactly once, a checkpoint every PEER_COMMIT_MS, state in PEER_STORE
 * (hashmap or rocksdb). The source ends with what is in the topic when it starts.
 */
public final class FlinkPeer {
    private FlinkPeer() { }

    public static void main(String[] arguments) throws Exception {
        StreamExecutionEnvironment flink = StreamExecutionEnvironment.createLocalEnvironment(1, configuration());
        flink.fromSource(source(), WatermarkStrategy.noWatermarks(), "clicks")
            .keyBy(click -> click.customer, Types.STRING)
            .process(new Step())
            .returns(Types.TUPLE(Types.PRIMITIVE_ARRAY(Types.BYTE), Types.PRIMITIVE_ARRAY(Types.BYTE)))
            .sinkTo(sink());
        flink.execute("sessions");
        System.exit(0); // the local cluster leaves threads behind
    }

    private static Configuration configuration() {
        Configuration settings = new Configuration();
        settings.setString("state.backend.type", Env.text("PEER_STORE"));
        settings.setString("execution.checkpointing.incremental", "true");
        settings.setString("execution.checkpointing.interval", Env.number("PEER_COMMIT_MS") + " ms");
        settings.setString("execution.checkpointing.mode", "EXACTLY_ONCE");
        settings.setString("execution.checkpointing.dir", "file://" + Env.text("PEER_STATE") + "/checkpoints");
        settings.setString("io.tmp.dirs", Env.text("PEER_STATE"));
        settings.setString("taskmanager.memory.managed.size", "512m");
        settings.setString("taskmanager.memory.network.min", "128m");
        settings.setString("taskmanager.memory.network.max", "128m");
        settings.setString("pipeline.object-reuse", "true");
        settings.setString("pipeline.generic-types", "false");
        return settings;
    }

    private static KafkaSource<Click> source() {
        return KafkaSource.<Click>builder()
            .setBootstrapServers(Env.text("PEER_BROKERS"))
            .setTopics(Env.text("PEER_INPUT"))
            .setGroupId(Env.text("PEER_ID"))
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setBounded(OffsetsInitializer.latest())
            .setDeserializer(new Clicks())
            .setProperty("isolation.level", "read_committed")
            .setProperty("max.poll.records", "10000")
            .setProperty("max.partition.fetch.bytes", "8388608")
            .setProperty("receive.buffer.bytes", "1048576")
            .setProperty("check.crcs", "false")
            .build();
    }

    private static KafkaSink<Tuple2<byte[], byte[]>> sink() {
        String topic = Env.text("PEER_OUTPUT");
        KafkaRecordSerializationSchema<Tuple2<byte[], byte[]>> record =
            (fact, context, timestamp) -> new ProducerRecord<>(topic, fact.f0, fact.f1);
        return KafkaSink.<Tuple2<byte[], byte[]>>builder()
            .setBootstrapServers(Env.text("PEER_BROKERS"))
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
            .setTransactionalIdPrefix(Env.text("PEER_ID"))
            .setProperty("transaction.timeout.ms", "600000")
            .setProperty("linger.ms", "20")
            .setProperty("batch.size", "524288")
            .setProperty("compression.type", "lz4")
            .setRecordSerializer(record)
            .build();
    }

    private static final class Clicks implements KafkaRecordDeserializationSchema<Click> {
        @Override
        public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Click> clicks) {
            if (Click.is(record.value())) clicks.collect(Click.parse(record.key(), record.value()));
        }

        @Override
        public TypeInformation<Click> getProducedType() {
            return TypeInformation.of(Click.class);
        }
    }

    private static final class Step extends KeyedProcessFunction<String, Click, Tuple2<byte[], byte[]>> {
        private transient ValueState<Shopper> state;

        @Override
        public void open(OpenContext context) {
            state = getRuntimeContext().getState(new ValueStateDescriptor<>("shopper", TypeInformation.of(Shopper.class)));
        }

        @Override
        public void processElement(Click click, Context context, Collector<Tuple2<byte[], byte[]>> facts) throws Exception {
            Shopper known = state.value();
            Shopper shopper = known == null ? new Shopper() : known;
            byte[] key = click.customer.getBytes(StandardCharsets.UTF_8);
            Sessions.apply(shopper, click, fact -> facts.collect(Tuple2.of(key, fact)));
            state.update(shopper);
            Progress.count();
        }
    }
}
