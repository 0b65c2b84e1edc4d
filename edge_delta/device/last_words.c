/*
 * What was printed before the process fell dead is not lost.
 *
 * Descriptor 2 leads into a socket that a thread of `library_output.py` reads. A process that aborts takes with it what
 * lies in that socket, and that is what tells why: a panic that cannot unwind, a heap that glibc or jemalloc found
 * broken. So on a signal that kills, what was not read goes to the log as an event. Only functions that POSIX allows in
 * a handler (signal-safety(7)) are called here.
 */
#define _POSIX_C_SOURCE 200809L
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static int from = -1, to = -1;
static const int deadly[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
enum { DEADLY = sizeof deadly / sizeof *deadly };
static struct sigaction before[DEADLY];

static void say(const char *text, size_t length) {
    while (length > 0) {
        ssize_t written = write(to, text, length);
        if (written <= 0) return;
        text += written;
        length -= (size_t)written;
    }
}

/* Bytes as they stand in a JSON string (RFC 8259, 7); `quoted` has room for twice as many. */
static size_t quote(const char *bytes, size_t length, char *quoted) {
    size_t at = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte == '"' || byte == '\\' || byte == '\n') quoted[at++] = '\\';
        quoted[at++] = byte == '\n' ? 'n' : byte < ' ' ? ' ' : (char)byte;
    }
    return at;
}

static void pass_on(int number) {
    static const char begin[] = "{\"said\": \"", end[] = "\", \"event\": \"library said\", \"level\": \"error\"}\n";
    static char words[4096], quoted[2 * sizeof words];
    struct pollfd waiting = {.fd = from, .events = POLLIN};
    int begun = 0;
    dup2(to, STDERR_FILENO);
    while (poll(&waiting, 1, 0) == 1 && (waiting.revents & POLLIN) != 0) {
        ssize_t length = read(from, words, sizeof words);
        if (length <= 0) break;
        if (!begun) say(begin, strlen(begin));
        begun = 1;
        say(quoted, quote(words, (size_t)length, quoted));
    }
    if (begun) say(end, strlen(end));
    for (int i = 0; i < DEADLY; i++)
        if (deadly[i] == number) sigaction(number, &before[i], NULL);
    raise(number);
}

/* Let what lies in the socket `unread` go to `log` before a signal kills the process; 0 if that is so. */
int last_words(int unread, int log) {
    struct sigaction passing = {.sa_handler = pass_on, .sa_flags = SA_NODEFER};
    from = unread;
    to = log;
    sigemptyset(&passing.sa_mask);
    for (int i = 0; i < DEADLY; i++)
        if (sigaction(deadly[i], &passing, &before[i]) != 0) return -1;
    return 0;
}
