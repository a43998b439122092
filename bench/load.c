/* Sends one request over some connections again and again, and counts answers.
 *
 * load PORT CONNECTIONS SECONDS [PORT], with the request on standard input. It prints answers per
 * second, seconds that half of them and 99 of 100 took at most, and the number of those that were
 * not what was asked for, as a list of JSON. With two ports, the connections take turns at them.
 * A server that closes its connections gets a new one each time, and the time for that counts.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 1024, ROOM = 65536 };

struct connection {
    int port, fd;
    double sent;
    size_t length; /* of what has come of the answer */
    char answer[ROOM + 1];
};

static struct connection connections[MOST_CONNECTIONS];
static char request[ROOM];
static size_t request_length;
static double *taken;
static size_t answers, room;
static int poller;

static void require(int fine, const char *what)
{
    if (!fine) {
        perror(what);
        exit(1);
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static void send_request(struct connection *one)
{
    one->length = 0;
    require(send(one->fd, request, request_length, 0) == (ssize_t)request_length, "send");
}

static void begin(struct connection *one)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(one->port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    one->fd = socket(AF_INET, SOCK_STREAM, 0);
    require(one->fd >= 0, "socket");
    require(connect(one->fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    require(epoll_ctl(poller, EPOLL_CTL_ADD, one->fd, &event) == 0, "epoll_ctl");
}

/* Whether all of an answer is there: its head, and as many bytes as that says. */
static int is_whole(const struct connection *one)
{
    const char *end = strstr(one->answer, "\r\n\r\n");
    const char *field = strcasestr(one->answer, "\r\ncontent-length:");
    if (end == NULL || field == NULL || field > end)
        return 0;
    return one->length >= (size_t)(end + 4 - one->answer) + strtoul(field + 17, NULL, 10);
}

static int compare(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

int main(int count, char **words)
{
    int number = count > 3 ? atoi(words[2]) : 0;
    double start, end, seconds = count > 3 ? atof(words[3]) : 0;
    size_t wrong = 0;
    if (number < 1 || number > MOST_CONNECTIONS || seconds <= 0)
        return 2;
    request_length = fread(request, 1, sizeof request, stdin);
    poller = epoll_create1(0);
    for (int i = 0; i < number; i++) {
        connections[i].port = atoi(words[count > 4 && i % 2 ? 4 : 1]);
        begin(&connections[i]);
    }
    start = end = now();
    for (int i = 0; i < number; i++) {
        connections[i].sent = start;
        send_request(&connections[i]);
    }
    while (end < start + seconds) {
        struct epoll_event events[64];
        int ready = epoll_wait(poller, events, 64, 30000);
        require(ready > 0, "the server does not answer");
        for (int i = 0; i < ready; i++) {
            struct connection *one = events[i].data.ptr;
            ssize_t got = recv(one->fd, one->answer + one->length, ROOM - one->length, 0);
            require(got > 0, "recv");
            one->length += got;
            one->answer[one->length] = 0;
            if (!is_whole(one))
                continue;
            if (answers == room) {
                room = room ? 2 * room : 65536;
                taken = realloc(taken, room * sizeof *taken);
                require(taken != NULL, "realloc");
            }
            end = now();
            taken[answers++] = end - one->sent;
            if (strncmp(one->answer, "HTTP/1.1 200", 12) != 0 || strstr(one->answer, "\"Error\""))
                wrong++;
            one->sent = end;
            if (strstr(one->answer, "\r\nConnection: close")) {
                close(one->fd);
                begin(one);
            }
            send_request(one);
        }
    }
    qsort(taken, answers, sizeof *taken, compare);
    printf("[%f, %.9f, %.9f, %zu]\n", answers / (end - start), taken[answers / 2],
           taken[answers * 99 / 100], wrong);
    return 0;
}
