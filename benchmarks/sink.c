/*
 * A store that costs little: it counts lines, adds up a hash of each, and answers truthfully.
 *
 *   cc -O2 -march=native -pthread sink.c -o sink -lz && ./sink PORT
 *
 * POST …/_bulk     every second line is a document; one item per action, `filter_path` is honoured
 * POST anything    every line is a document
 * GET /_stats      {"lines":…, "sum":"…", "bytes":…, "requests":…}; DELETE /_stats begins anew
 * GET /, templates, streams: as an Elasticsearch would say it, so that a shipper gets going
 *
 * The sum is that of 64-bit hashes modulo 2^64, which does not depend on the order: it differs if a line is missing, doubled or
 * changed. Bodies come with a length or in chunks, plain or as one gzip stream.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef USE_ISAL
#include <isa-l/igzip_lib.h>
#else
#include <zlib.h>
#endif

typedef struct { char *data; size_t size, room; } Buffer;

static uint64_t lines, sum, bytes, requests;
static pthread_mutex_t totals = PTHREAD_MUTEX_INITIALIZER;

static void need(Buffer *b, size_t room) {
    if (b->room >= room) return;
    while (b->room < room) b->room = b->room ? b->room * 2 : 1 << 16;
    b->data = realloc(b->data, b->room);
    if (!b->data) { perror("sink"); exit(1); }
}

static void add(Buffer *b, const char *text, size_t size) {
    need(b, b->size + size);
    memcpy(b->data + b->size, text, size);
    b->size += size;
}

static int more(int fd, Buffer *b) {
    need(b, b->size + (1 << 18));
    ssize_t got = recv(fd, b->data + b->size, b->room - b->size, 0);
    if (got <= 0) return 0;
    b->size += got;
    return 1;
}

static uint64_t hash(const char *p, size_t n) {
    uint64_t h = n * 0x9E3779B97F4A7C15u, v;
    for (; n >= 8; p += 8, n -= 8) { memcpy(&v, p, 8); h = (h ^ v) * 0xD6E8FEB86659FD93u; h ^= h >> 32; }
    if (n) { v = 0; memcpy(&v, p, n); h = (h ^ v) * 0xD6E8FEB86659FD93u; h ^= h >> 32; }
    return h;
}

static int inflate_all(const Buffer *in, size_t at, size_t size, Buffer *out) {
    out->size = 0;
#ifdef USE_ISAL
    static __thread struct inflate_state s;
    isal_inflate_init(&s);
    s.crc_flag = ISAL_GZIP;
    s.next_in = (uint8_t *)in->data + at;
    s.avail_in = size;
    do {
        need(out, out->size + (1 << 20));
        s.next_out = (uint8_t *)out->data + out->size;
        s.avail_out = out->room - out->size;
        size_t before = s.avail_out;
        if (isal_inflate(&s) != ISAL_DECOMP_OK) return 0;
        out->size += before - s.avail_out;
    } while (s.block_state != ISAL_BLOCK_FINISH);
    return s.avail_in == 0;
#else
    z_stream s = {0};
    if (inflateInit2(&s, 31) != Z_OK) return 0;
    s.next_in = (Bytef *)in->data + at;
    s.avail_in = size;
    int code;
    do {
        need(out, out->size + (1 << 20));
        s.next_out = (Bytef *)out->data + out->size;
        s.avail_out = out->room - out->size;
        size_t before = s.avail_out;
        code = inflate(&s, Z_NO_FLUSH);
        out->size += before - s.avail_out;
    } while (code == Z_OK);
    inflateEnd(&s);
    return code == Z_STREAM_END && s.avail_in == 0;
#endif
}

/* Reads a chunked body into *out*; what follows it stays in *in* from the place that is returned. */
static long dechunk(int fd, Buffer *in, size_t at, Buffer *out) {
    out->size = 0;
    for (;;) {
        char *end;
        while (!(end = memmem(in->data + at, in->size - at, "\r\n", 2))) if (!more(fd, in)) return -1;
        size_t size = strtoul(in->data + at, NULL, 16);
        at = end + 2 - in->data;
        while (in->size < at + size + 2) if (!more(fd, in)) return -1;
        add(out, in->data + at, size);
        at += size + 2;
        if (!size) return at;
    }
}

/* Every item is refused: what a store says to records that its mapping cannot take. */
static int refuse;
static const char REFUSED[] = "{\"create\":{\"status\":400,\"error\":{\"type\":\"illegal_argument_exception\",\"reason\":\"refused by the benchmark\"}}}";

static void take(const char *p, size_t size, int bulk, int brief, Buffer *answer) {
    uint64_t count = 0, total = 0;
    const char *end = p + size, *next;
    int document = !bulk;
    char op = 'c';
    if (bulk) {
        const char *head = refuse ? "{\"errors\":true,\"items\":[" : "{\"errors\":false,\"items\":[";
        answer->size = 0;
        add(answer, head, strlen(head));
    }
    for (; p < end; p = next + 1, document = bulk ? !document : 1) {
        next = memchr(p, '\n', end - p);
        if (!next) next = end;
        if (!document) { if (next > p + 2) op = p[2]; continue; }
        if (!bulk && next == p) continue;
        count++;
        total += hash(p, next - p);
        if (!bulk) continue;
        if (count > 1) add(answer, ",", 1);
        if (refuse) add(answer, REFUSED, sizeof REFUSED - 1);
        else if (brief) {
            const char *item = op == 'i' ? "{\"index\":{\"status\":201}}" : "{\"create\":{\"status\":201}}";
            add(answer, item, strlen(item));
        } else {
            char item[300];
            add(answer, item, snprintf(item, sizeof item, "{\"%s\":{\"_index\":\"logs\",\"_id\":\"%016lx\",\"_version\":1,\"result\":\"created\","
                "\"_shards\":{\"total\":1,\"successful\":1,\"failed\":0},\"_seq_no\":%lu,\"_primary_term\":1,\"status\":201}}",
                op == 'i' ? "index" : "create", total, count));
        }
    }
    if (bulk) add(answer, "]}", 2);
    pthread_mutex_lock(&totals);
    lines += count; sum += total; bytes += size; requests++;
    pthread_mutex_unlock(&totals);
}

static void say(const char *method, const char *path, Buffer *answer) {
    char text[1000];
    const char *name = strstr(path, "/_data_stream/");
    if (!strncmp(path, "/_stats", 7)) {
        pthread_mutex_lock(&totals);
        if (*method == 'D') lines = sum = bytes = requests = 0;
        snprintf(text, sizeof text, "{\"lines\":%lu,\"sum\":\"%016lx\",\"bytes\":%lu,\"requests\":%lu}", lines, sum, bytes, requests);
        pthread_mutex_unlock(&totals);
    } else if (!strcmp(path, "/")) {
        strcpy(text, "{\"version\":{\"number\":\"9.5.3\",\"build_flavor\":\"default\",\"lucene_version\":\"10.0.0\"}}");
    } else if (name) {
        name += strlen("/_data_stream/");
        size_t size = strcspn(name, "?/");
        snprintf(text, sizeof text, "{\"data_streams\":[{\"name\":\"%.*s\",\"generation\":1,\"template\":\"jsonlog\","
            "\"timestamp_field\":{\"name\":\"@timestamp\"},\"indices\":[{\"index_name\":\".ds-%.*s-000001\",\"index_uuid\":\"x\"}]}]}",
            (int)size, name, (int)size, name);
    } else strcpy(text, "{\"acknowledged\":true}");
    answer->size = 0;
    add(answer, text, strlen(text));
}

static const char *header(const char *head, const char *name) {
    const char *found = strcasestr(head, name);
    if (!found) return NULL;
    found += strlen(name);
    return found + strspn(found, " ");
}

static int send_all(int fd, const char *p, size_t size) {
    while (size) {
        ssize_t done = send(fd, p, size, MSG_NOSIGNAL);
        if (done <= 0) return 0;
        p += done; size -= done;
    }
    return 1;
}

static void *serve(void *argument) {
    int fd = (int)(intptr_t)argument, one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    Buffer in = {0}, plain = {0}, chunks = {0}, answer = {0};
    for (;;) {
        char *end, method[16] = "", path[4000] = "", head[300];
        while (!in.size || !(end = memmem(in.data, in.size, "\r\n\r\n", 4))) if (!more(fd, &in)) goto out;
        *end = 0;
        size_t at = end + 4 - in.data;
        if (sscanf(in.data, "%15s %3999s", method, path) != 2) goto out;
        const char *length = header(in.data, "\r\ncontent-length:"), *coding = header(in.data, "\r\ncontent-encoding:");
        int gzip = coding && !strncasecmp(coding, "gzip", 4), chunked = header(in.data, "\r\ntransfer-encoding: chunked") != NULL;
        size_t size = length ? strtoul(length, NULL, 10) : 0, after;
        if (header(in.data, "\r\nexpect:")) send_all(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        Buffer *body = &in;
        if (chunked) {
            long place = dechunk(fd, &in, at, &chunks);
            if (place < 0) goto out;
            after = place; body = &chunks; at = 0; size = chunks.size;
        } else {
            need(&in, at + size + 1);
            while (in.size < at + size) if (!more(fd, &in)) goto out;
            after = at + size;
        }
        int status = 200;
        answer.size = 0;
        if (gzip) {
            if (!inflate_all(body, at, size, &plain)) status = 400;
            body = &plain; at = 0; size = plain.size;
        }
        int bulk = strstr(path, "/_bulk") != NULL;
        if (status == 200 && *method == 'P' && (bulk || !strstr(path, "/_"))) {
            if (!bulk) say(method, "x", &answer);
            take(body->data + at, size, bulk, strstr(path, "filter_path=") != NULL, &answer);
        } else say(method, path, &answer);
        int n = snprintf(head, sizeof head, "HTTP/1.1 %d OK\r\ncontent-type: application/json\r\nx-elastic-product: Elasticsearch\r\n"
            "content-length: %zu\r\n\r\n", status, answer.size);
        if (!send_all(fd, head, n) || !send_all(fd, answer.data, answer.size)) goto out;
        memmove(in.data, in.data + after, in.size - after);
        in.size -= after;
    }
out:
    close(fd);
    free(in.data); free(plain.data); free(chunks.data); free(answer.data);
    return NULL;
}

int main(int count, char **arguments) {
    int server = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    refuse = count > 2;
    address.sin_port = htons(count > 1 ? atoi(arguments[1]) : 0);
    socklen_t size = sizeof address;
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(server, (void *)&address, sizeof address) || listen(server, 1024)) { perror("sink"); return 1; }
    getsockname(server, (void *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int fd = accept(server, NULL, NULL);
        pthread_t thread;
        if (fd >= 0 && !pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd)) pthread_detach(thread);
    }
}
