/* crelay: the practical floor of a copy by ranges. Does only the work that no client can avoid.
 *
 *   crelay SOURCE_URL SINK_URL PATH BYTES WORKERS PART_MIB
 *
 * Each worker asks the source for one part after another, and passes each on to the sink while it arrives. Both ends
 * are on loopback, with TLS. Nothing is signed, checked or retried: for nullsink only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER 262144
#define MOST_WORKERS 64

static SSL_CTX* tls;
static int source_port, sink_port;
static const char *source_path, *sink_path;
static long long total_bytes, part_bytes, part_count;
static long long parts_taken;

static void fail(const char* what) {
  fprintf(stderr, "crelay: %s\n", what);
  exit(1);
}

static SSL* dial(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (connect(fd, (struct sockaddr*)&address, sizeof address)) fail("no connection");
  SSL* ssl = SSL_new(tls);
  SSL_set_fd(ssl, fd);
  if (SSL_connect(ssl) <= 0) fail("no TLS");
  return ssl;
}

static void write_all(SSL* ssl, const char* bytes, long long count) {
  while (count > 0) {
    int written = SSL_write(ssl, bytes, count);
    if (written <= 0) fail("the sink's connection broke");
    bytes += written;
    count -= written;
  }
}

/* Reads a response's head, which must have this status. Returns its length; `*filled` becomes the bytes received. */
static int read_head(SSL* ssl, const char* status, char* buffer, int capacity, int* filled) {
  for (*filled = 0;;) {
    int count = SSL_read(ssl, buffer + *filled, capacity - *filled - 1);
    if (count <= 0) fail("no answer");
    *filled += count;
    buffer[*filled] = 0;
    char* end = strstr(buffer, "\r\n\r\n");
    if (!end) continue;
    if (strncmp(buffer, "HTTP/1.1 ", 9) || strncmp(buffer + 9, status, 3)) fail("an unexpected status");
    return end + 4 - buffer;
  }
}

/* Reads at least one byte, and all bytes that are already decrypted: fewer and larger writes. */
static int read_some(SSL* ssl, char* buffer, long long wanted) {
  int most = wanted < BUFFER ? wanted : BUFFER;
  int filled = SSL_read(ssl, buffer, most);
  if (filled <= 0) fail("the source's connection broke");
  while (filled < most && SSL_pending(ssl) > 0) {
    int count = SSL_read(ssl, buffer + filled, most - filled);
    if (count <= 0) break;
    filled += count;
  }
  return filled;
}

static void* relay_parts(void* unused) {
  (void)unused;
  SSL *source = dial(source_port), *sink = dial(sink_port);
  char *buffer = malloc(BUFFER), head[4096];
  for (;;) {
    long long part = __sync_fetch_and_add(&parts_taken, 1);
    if (part >= part_count) return NULL;
    long long first = part * part_bytes;
    long long size = total_bytes - first < part_bytes ? total_bytes - first : part_bytes;

    int length = snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=%lld-%lld\r\n\r\n",
                          source_path, first, first + size - 1);
    write_all(source, head, length);
    int filled, body = read_head(source, "206", buffer, BUFFER, &filled);

    length = snprintf(head, sizeof head,
                      "PUT %s?partNumber=%lld&uploadId=u1 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                      "Content-Length: %lld\r\n\r\n",
                      sink_path, part + 1, size);
    write_all(sink, head, length);
    write_all(sink, buffer + body, filled - body);
    for (long long left = size - (filled - body); left > 0;) {
      int count = read_some(source, buffer, left);
      write_all(sink, buffer, count);
      left -= count;
    }
    read_head(sink, "200", buffer, BUFFER, &filled);
  }
}

/* Begins or completes the upload. */
static void post(SSL* sink, const char* query) {
  char text[4096];
  int filled, length = snprintf(text, sizeof text,
                                "POST %s?%s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                                "Content-Length: 0\r\n\r\n",
                                sink_path, query);
  write_all(sink, text, length);
  read_head(sink, "200", text, sizeof text, &filled);
}

/* Returns the port of https://127.0.0.1:PORT/PATH; the path follows it. */
static int port_of(const char* url, const char** path) {
  const char prefix[] = "https://127.0.0.1:";
  if (strncmp(url, prefix, sizeof prefix - 1)) fail("a URL must begin with https://127.0.0.1:PORT");
  char* rest;
  int port = strtol(url + sizeof prefix - 1, &rest, 10);
  *path = rest;
  return port;
}

int main(int count, char** arguments) {
  if (count != 7) fail("usage: crelay SOURCE_URL SINK_URL PATH BYTES WORKERS PART_MIB");
  signal(SIGPIPE, SIG_IGN);
  const char* unused;
  source_port = port_of(arguments[1], &source_path);
  sink_port = port_of(arguments[2], &unused);
  sink_path = arguments[3];
  total_bytes = atoll(arguments[4]);
  int workers = atoi(arguments[5]);
  part_bytes = atoll(arguments[6]) << 20;
  if (workers < 1 || workers > MOST_WORKERS || part_bytes < 1) fail("WORKERS is 1 to 64, PART_MIB at least 1");
  part_count = (total_bytes + part_bytes - 1) / part_bytes;
  tls = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_read_ahead(tls, 1);

  SSL* sink = dial(sink_port);
  post(sink, "uploads");
  pthread_t threads[MOST_WORKERS];
  for (int i = 0; i < workers; i++) pthread_create(&threads[i], NULL, relay_parts, NULL);
  for (int i = 0; i < workers; i++) pthread_join(threads[i], NULL);
  post(sink, "uploadId=u1");
  return 0;
}
