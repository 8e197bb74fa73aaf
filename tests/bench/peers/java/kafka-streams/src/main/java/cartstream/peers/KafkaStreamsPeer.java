package cartstream.peers;

import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** The job on Kafka Streams: exactly once, state in RocksDB with a changelog. PEER_COMMIT_MS is the commit interval. */
public final class KafkaStreamsPeer {
    private static final String STORE = "shoppers";
    private static final long CACHE_BYTES = 256L << 20;

    private KafkaStreamsPeer() { }

    public static void main(String[] arguments) throws InterruptedException {
        KafkaStreams streams = new KafkaStreams(topology(), properties());
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        Progress.awaitAll();
        streams.close(Duration.ofSeconds(60));
    }

    private static Topology topology() {
        Topology topology = new Topology();
        topology.addSource("clicks", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), Env.text("PEER_INPUT"));
        topology.addProcessor("sessions", Step::new, "clicks");
        topology.addStateStore(
            Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore(STORE), Serdes.String(), new ShopperSerde())
                .withCachingEnabled()
                .withLoggingEnabled(Map.of()),
            "sessions");
        topology.addSink("facts", Env.text("PEER_OUTPUT"), Serdes.ByteArray().serializer(), Serdes.ByteArray().serializer(), "sessions");
        return topology;
    }

    private static Properties properties() {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, Env.text("PEER_ID"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, Env.text("PEER_BROKERS"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, Env.text("PEER_STATE"));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, Env.number("PEER_COMMIT_MS"));
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, CACHE_BYTES);
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 20_000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 8 << 20);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.RECEIVE_BUFFER_CONFIG), 1 << 20);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.CHECK_CRCS_CONFIG), false);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 512 << 10);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 128L << 20);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        return settings;
    }

    private static final class Step implements Processor<byte[], byte[], byte[], byte[]> {
        private ProcessorContext<byte[], byte[]> context;
        private KeyValueStore<String, Shopper> shoppers;

        @Override
        public void init(ProcessorContext<byte[], byte[]> context) {
            this.context = context;
            this.shoppers = context.getStateStore(STORE);
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            if (!Click.is(record.value())) return;
            Click click = Click.parse(record.key(), record.value());
            Shopper known = shoppers.get(click.customer);
            Shopper shopper = known == null ? new Shopper() : known;
            Sessions.apply(shopper, click, fact -> context.forward(record.withValue(fact)));
            shoppers.put(click.customer, shopper);
            Progress.count();
        }
    }
}
