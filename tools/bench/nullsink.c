/* nullsink: looks like S3 to a client and discards every body, so that only the client is measured.
 *
 *   nullsink PORT CERTIFICATE KEY [MILLISECONDS]
 *
 * Listens on loopback, TLS only. MILLISECONDS is the delay before each answer. It knows single and multipart uploads,
 * HEAD and just enough of the rest for common clients, and stores only the size of each object. No
 * signature and no checksum is verified.
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
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER 65536
#define ETAG "0123456789abcdef0123456789abcdef"
#define XML "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
#define XMLNS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

static SSL_CTX* tls;
static int delay_ms;

/* An object: its key, its size and its number of parts. */
typedef struct Object {
  char* key;
  long long size;
  int parts;
  struct Object* next;
} Object;

static Object* objects;
static pthread_mutex_t objects_lock = PTHREAD_MUTEX_INITIALIZER;

/* The object at a key, or NULL. Call with the lock held. */
static Object* find(const char* key) {
  for (Object* object = objects; object; object = object->next)
    if (!strcmp(object->key, key)) return object;
  return NULL;
}

/* Begins an object anew, or adds a part to it. */
static void store(const char* key, long long bytes, int is_part) {
  pthread_mutex_lock(&objects_lock);
  Object* object = find(key);
  if (!object) {
    object = calloc(1, sizeof *object);
    object->key = strdup(key);
    object->next = objects;
    objects = object;
  }
  object->size = is_part ? object->size + bytes : bytes;
  object->parts = is_part ? object->parts + 1 : 0;
  pthread_mutex_unlock(&objects_lock);
}

/* A client's connection. The bytes from `used` up to `filled` were read and not yet processed. */
typedef struct {
  SSL* ssl;
  char* buffer;
  int used, filled;
} Connection;

/* Moves the unprocessed bytes to the front of the buffer, and reads more behind them. */
static int read_more(Connection* c) {
  if (c->used) {
    memmove(c->buffer, c->buffer + c->used, c->filled - c->used);
    c->filled -= c->used;
    c->used = 0;
  }
  if (c->filled == BUFFER) return -1;
  int count = SSL_read(c->ssl, c->buffer + c->filled, BUFFER - c->filled);
  if (count > 0) c->filled += count;
  return count;
}

/* Returns the text before the next `end`, terminated in place, and skips both. NULL when the connection ended. */
static char* read_until(Connection* c, const char* end) {
  for (;;) {
    char* at = memmem(c->buffer + c->used, c->filled - c->used, end, strlen(end));
    if (at) {
      char* text = c->buffer + c->used;
      *at = 0;
      c->used = at + strlen(end) - c->buffer;
      return text;
    }
    if (read_more(c) <= 0) return NULL;
  }
}

/* Reads bytes of a body and drops them. */
static int discard(Connection* c, long long bytes) {
  static __thread char junk[262144];
  long long here = c->filled - c->used;
  if (here > bytes) here = bytes;
  c->used += here;
  for (bytes -= here; bytes > 0;) {
    int count = SSL_read(c->ssl, junk, bytes < (long long)sizeof junk ? bytes : (long long)sizeof junk);
    if (count <= 0) return -1;
    bytes -= count;
  }
  return 0;
}

/* Drops a chunked body with its trailers; returns its bytes, or -1 when the connection ended. */
static long long discard_chunks(Connection* c) {
  long long total = 0, size;
  do {
    char* line = read_until(c, "\r\n");
    if (!line) return -1;
    size = strtoll(line, NULL, 16);
    if (size && discard(c, size + 2)) return -1;
    total += size;
  } while (size);
  for (;;) {
    char* trailer = read_until(c, "\r\n");
    if (!trailer) return -1;
    if (!*trailer) return total;
  }
}

/* Returns the value of a header, which ends with its line; NULL without one. */
static const char* header(const char* head, const char* name) {
  size_t length = strlen(name);
  for (const char* line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
    line += 2;
    if (!strncasecmp(line, name, length) && line[length] == ':') {
      line += length + 1;
      return line + strspn(line, " ");
    }
  }
  return NULL;
}

static void answer(Connection* c, const char* status, const char* headers, const char* body) {
  char text[4096];
  int length = snprintf(text, sizeof text,
                        "HTTP/1.1 %s\r\nServer: nullsink\r\nx-amz-request-id: 1\r\n"
                        "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n%s%sContent-Length: %zu\r\n\r\n%s",
                        status, headers, *body ? "Content-Type: application/xml\r\n" : "", strlen(body), body);
  SSL_write(c->ssl, text, length);
}

/* HEAD: the size of the object at a key. Every bucket exists. */
static void answer_head(Connection* c, const char* key) {
  char text[512];
  const char* name = strchr(key + 1, '/');
  pthread_mutex_lock(&objects_lock);
  Object* object = find(key);
  int length;
  if (!name || !name[1])
    length = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  else if (!object)
    length = snprintf(text, sizeof text, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
  else
    length = snprintf(text, sizeof text,
                      "HTTP/1.1 200 OK\r\nContent-Length: %lld\r\nETag: \"" ETAG
                      "-%d\"\r\n"
                      "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n",
                      object->size, object->parts);
  pthread_mutex_unlock(&objects_lock);
  SSL_write(c->ssl, text, length);
}

static void respond(Connection* c, const char* method, const char* key, const char* query, long long bytes) {
  if (!strcmp(method, "PUT")) {
    store(key, bytes, strstr(query, "partNumber") != NULL);
    answer(c, "200 OK", "ETag: \"" ETAG "\"\r\n", "");
  } else if (!strcmp(method, "POST") && strstr(query, "uploadId")) {
    answer(c, "200 OK", "",
           XML "<CompleteMultipartUploadResult" XMLNS
               "><Location>x</Location><Bucket>b</Bucket><Key>k</Key>"
               "<ETag>\"" ETAG "-9\"</ETag></CompleteMultipartUploadResult>");
  } else if (!strcmp(method, "POST")) {
    store(key, 0, 0);
    answer(c, "200 OK", "",
           XML "<InitiateMultipartUploadResult" XMLNS
               "><Bucket>b</Bucket><Key>k</Key><UploadId>u1</UploadId>"
               "</InitiateMultipartUploadResult>");
  } else if (!strcmp(method, "HEAD")) {
    answer_head(c, key);
  } else if (!strcmp(method, "DELETE")) {
    answer(c, "204 No Content", "", "");
  } else if (strstr(query, "location")) {
    answer(c, "200 OK", "", XML "<LocationConstraint" XMLNS "></LocationConstraint>");
  } else {
    answer(c, "200 OK", "",
           XML "<ListBucketResult" XMLNS
               "><Name>b</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated>"
               "</ListBucketResult>");
  }
}

/* Reads one request and answers it; -1 when the connection is to end. */
static int serve_request(Connection* c) {
  char* head = read_until(c, "\r\n\r\n");
  if (!head) return -1;
  char method[16] = "", target[2048] = "";
  sscanf(head, "%15s %2047s", method, target);
  char* query = strchr(target, '?');
  if (query) *query++ = 0;

  const char* length = header(head, "content-length");
  const char* decoded = header(head, "x-amz-decoded-content-length");
  const char* encoding = header(head, "transfer-encoding");
  long long bytes = length ? atoll(length) : 0, stored = decoded ? atoll(decoded) : -1;
  int chunked = encoding && !strncasecmp(encoding, "chunked", 7);
  /* From here on the buffer may move, and with it the head. */
  if (header(head, "expect")) SSL_write(c->ssl, "HTTP/1.1 100 Continue\r\n\r\n", 25);

  if (chunked) {
    bytes = discard_chunks(c);
    if (bytes < 0) return -1;
  } else if (discard(c, bytes)) {
    return -1;
  }
  if (delay_ms) usleep(delay_ms * 1000);
  respond(c, method, target, query ? query : "", stored >= 0 ? stored : bytes);
  return 0;
}

static void* serve(void* accepted) {
  int fd = (int)(long)accepted, on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  Connection c = {.ssl = SSL_new(tls), .buffer = malloc(BUFFER)};
  SSL_set_fd(c.ssl, fd);
  if (SSL_accept(c.ssl) > 0)
    while (!serve_request(&c));
  SSL_free(c.ssl);
  close(fd);
  free(c.buffer);
  return NULL;
}

int main(int count, char** arguments) {
  if (count < 4) {
    fprintf(stderr, "usage: nullsink PORT CERTIFICATE KEY [MILLISECONDS]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  delay_ms = count > 4 ? atoi(arguments[4]) : 0;
  tls = SSL_CTX_new(TLS_server_method());
  if (SSL_CTX_use_certificate_chain_file(tls, arguments[2]) <= 0 ||
      SSL_CTX_use_PrivateKey_file(tls, arguments[3], SSL_FILETYPE_PEM) <= 0) {
    fprintf(stderr, "nullsink: the certificate or its key can't be read\n");
    return 1;
  }
  SSL_CTX_set_read_ahead(tls, 1);

  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(atoi(arguments[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(listener, (struct sockaddr*)&address, sizeof address) || listen(listener, 1024)) {
    perror("nullsink");
    return 1;
  }
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) continue;
    pthread_t thread;
    pthread_create(&thread, NULL, serve, (void*)(long)fd);
    pthread_detach(thread);
  }
}
