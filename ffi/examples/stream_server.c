/* A server that streams a topic to whoever connects: each record batch goes from the segment's file
 * to the socket without passing through this program, and a slow peer holds up nobody else. A client
 * that counts what arrives comes along, so that the example can be run by itself.
 * Usage: stream_server DIRECTORY */
#include <arpa/inet.h>
#include <pthread.h>
#include <ringlog.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECORDS = 2000, VALUE_BYTES = 4096 };

static void must(ringlog_status status, ringlog_error *error, const char *what) {
    if (status != RINGLOG_OK) {
        fprintf(stderr, "%s: %s: %s\n", what, ringlog_status_name(status),
                ringlog_error_message(error));
        exit(1);
    }
}

static void must_be(int is, const char *what) {
    if (!is) {
        perror(what);
        exit(1);
    }
}

static int listen_here(struct sockaddr_in *at) {
    socklen_t len = sizeof *at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(at, 0, sizeof *at);
    at->sin_family = AF_INET;
    at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must_be(fd >= 0 && bind(fd, (struct sockaddr *)at, sizeof *at) == 0 && listen(fd, 1) == 0 &&
                getsockname(fd, (struct sockaddr *)at, &len) == 0,
            "listen");
    return fd;
}

/* Sends everything there is; in the middle of it the peer may take its time. */
static uint64_t serve(ringlog_stream *stream, int socket) {
    ringlog_sender *sender = NULL;
    ringlog_error *error = NULL;
    ringlog_sent sent;
    uint64_t total = 0;
    must(ringlog_sender_open(stream, 0, &sender, &error), error, "sender");
    do {
        must(ringlog_sender_send(sender, socket, UINT64_MAX, 100000000, &sent, sizeof sent, &error),
             error, "send");
        total += sent.bytes;
    } while (!sent.complete);
    ringlog_sender_free(sender);
    return total;
}

struct client {
    struct sockaddr_in at;
    uint64_t bytes, records;
};

static size_t read_exactly(int fd, unsigned char *to, size_t len) {
    size_t done = 0;
    while (done < len) {
        ssize_t got = read(fd, to + done, len - done);
        if (got <= 0) {
            break;
        }
        done += (size_t)got;
    }
    return done;
}

/*
 * What arrives are Kafka RecordBatches v2: a base offset, a length, and as many bytes, in which the
 * number of records stands before the records. Records that were appended one by one may have
 * joined one batch.
 */
static void *receive(void *from) {
    struct client *client = from;
    unsigned char head[12];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must_be(connect(fd, (struct sockaddr *)&client->at, sizeof client->at) == 0, "connect");
    while (read_exactly(fd, head, sizeof head) == sizeof head) {
        size_t len = (size_t)head[8] << 24 | (size_t)head[9] << 16 | (size_t)head[10] << 8 | head[11];
        unsigned char *rest = malloc(len);
        must_be(rest != NULL && len >= 49 && read_exactly(fd, rest, len) == len, "read");
        client->bytes += sizeof head + len;
        client->records += (uint64_t)rest[45] << 24 | rest[46] << 16 | rest[47] << 8 | rest[48];
        free(rest);
    }
    close(fd);
    return NULL;
}

static void fill(ringlog_stream *stream) {
    static char value[VALUE_BYTES];
    ringlog_record record;
    ringlog_error *error = NULL;
    int at;
    memset(&record, 0, sizeof record);
    record.value.ptr = value;
    record.value.len = sizeof value;
    for (at = 0; at < RECORDS; at++) {
        must(ringlog_append(stream, &record, 1, sizeof record, 0, RINGLOG_FOREVER, NULL, &error),
             error, "append");
    }
}

int main(int argc, char **argv) {
    ringlog_engine *engine = NULL;
    ringlog_topic *topic = NULL;
    ringlog_stream *stream = NULL;
    ringlog_error *error = NULL;
    ringlog_topic_options options;
    struct client client;
    pthread_t thread;
    int listener, peer;
    uint64_t sent;
    memset(&options, 0, sizeof options);
    memset(&client, 0, sizeof client);
    options.size = sizeof options;
    options.flush = RINGLOG_FLUSH_ASYNC;
    must(ringlog_open(argc > 1 ? argv[1] : "data", NULL, &engine, &error), error, "open");
    must(ringlog_topic_open_or_create(engine, "video", &options, &topic, &error), error, "topic");
    must(ringlog_stream_open(topic, 0, &stream, &error), error, "stream");
    fill(stream);

    listener = listen_here(&client.at);
    must_be(pthread_create(&thread, NULL, receive, &client) == 0, "thread");
    peer = accept(listener, NULL, NULL);
    must_be(peer >= 0, "accept");
    sent = serve(stream, peer);
    close(peer);
    close(listener);
    pthread_join(thread, NULL);
    if (client.bytes != sent) {
        fprintf(stderr, "%llu bytes sent, %llu received\n", (unsigned long long)sent,
                (unsigned long long)client.bytes);
        return 1;
    }
    printf("%llu records arrived in batches as they lie on disk\n",
           (unsigned long long)client.records);

    ringlog_stream_free(stream);
    ringlog_topic_free(topic);
    must(ringlog_close(engine, RINGLOG_FOREVER, &error), error, "close");
    ringlog_engine_free(engine);
    return 0;
}
