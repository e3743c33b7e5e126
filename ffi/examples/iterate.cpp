// Ranges and exceptions: records are read with range-for. Usage: iterate DIRECTORY
#include <cstdlib>
#include <iostream>
#include <ringlog.hpp>

int main(int argc, char **argv) {
    try {
        ringlog::Engine engine(argc > 1 ? argv[1] : "data");
        ringlog::Stream orders = engine.open_or_create_topic("orders").stream(0);

        ringlog::Record order("table 7", "one flat white");
        order.headers = {{"waiter", "Ann"}, {"urgent", std::nullopt}};
        order.timestamp_ms = 1700000000000; // Of November 2023; the others have the time of now.
        orders.append(order);
        orders.append_many({"two espressos", "a glass of water"});

        for (const ringlog::Batch &batch : orders.reader()) {
            for (const ringlog::View &record : batch) {
                std::cout << record.offset() << ' ' << record.key().value_or("-") << ": "
                          << record.value().value_or("-");
                for (const ringlog::Header &header : record.headers()) {
                    std::cout << " [" << header.key << '=' << header.value.value_or("absent")
                              << ']';
                }
                std::cout << '\n';
            }
        }

        if (auto later = orders.offset_for_time(1700000000001)) {
            ringlog::Reader since = orders.reader(ringlog::Start::time(1700000000001));
            std::cout << "later ones begin at " << later->offset << ", and a reader from then at "
                      << since.position() << '\n';
        }

        ringlog_topic_options options = ringlog::topic_options();
        options.partitions = 4;
        options.compression = RINGLOG_COMPRESSION_LZ4;
        ringlog::Topic tables = engine.open_or_create_topic("tables", options);
        tables.append_many({{"table 1", "free"}, {"table 2", "taken"}, {"table 3", "free"}});
        std::size_t count = 0;
        for (const ringlog::Batch &batch : tables.reader()) { // All partitions, in turns.
            count += batch.size();
        }
        std::cout << count << " records in " << tables.info().partitions << " partitions\n";

        try {
            engine.topic("no such topic");
        } catch (const ringlog::Error &error) {
            std::cout << error.name() << ": " << error.what() << '\n';
        }
        engine.close();
    } catch (const ringlog::Error &error) {
        std::cerr << error.name() << ": " << error.what() << '\n';
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
