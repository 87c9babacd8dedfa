/*
 * time.c - the two clocks, time as text, and the id of this boot.
 *
 * The calendar is computed here: gmtime_r() takes a lock and reads the zone files, for nothing.
 */
#include <fcntl.h>
#include <pthread.h>
#include <time.h>

#include <podd/base.h>

static int64_t now(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts); /* cannot fail for these clocks */
    return (int64_t)ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

int64_t time_now_ns(void)
{
    return now(CLOCK_REALTIME);
}

int64_t time_mono_ns(void)
{
    return now(CLOCK_MONOTONIC);
}

/* Days since 1970-01-01 to a date of the Gregorian calendar: counted in years that begin in March
 * (the leap day is the last) and eras of 400 years (all alike), after Howard Hinnant's
 * "chrono-Compatible Low-Level Date Algorithms". */
static void civil_from_days(int64_t days, int *year, int *month, int *day)
{
    days += 719468; /* from 0000-03-01 */
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;

    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = (int)(yoe + era * 400 + (*month <= 2));
}

/* Writes `width` digits and one character behind them; returns the end. */
static char *put_number(char *p, int64_t value, int width, char behind)
{
    for (int i = width - 1; i >= 0; i--, value /= 10)
        p[i] = (char)('0' + value % 10);
    p[width] = behind;
    return p + width + 1;
}

void time_format(int64_t ns, char *ret)
{
    int64_t sec = ns / NS_PER_SEC, frac = ns % NS_PER_SEC;
    int year, month, day;

    if (frac < 0) {
        frac += NS_PER_SEC;
        sec--;
    }
    int64_t days = sec / 86400, rest = sec % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    /* 64 bits of nanoseconds reach from 1677 to 2262, so a year has four digits. */
    civil_from_days(days, &year, &month, &day);
    ret = put_number(ret, year, 4, '-');
    ret = put_number(ret, month, 2, '-');
    ret = put_number(ret, day, 2, 'T');
    ret = put_number(ret, rest / 3600, 2, ':');
    ret = put_number(ret, rest / 60 % 60, 2, ':');
    ret = put_number(ret, rest % 60, 2, '.');
    ret = put_number(ret, frac, 9, 'Z');
    *ret = '\0';
}

enum { BOOT_ID_LEN = 36 };
static char boot_id_text[BOOT_ID_LEN + 1];
static pthread_once_t boot_id_once = PTHREAD_ONCE_INIT;

static void read_boot_id(void)
{
    _cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

    /* A made-up id would tell the daemon that the machine has rebooted, or that it has not, and
     * either is worse than no daemon. */
    if (fd < 0 || fd_read_full(fd, boot_id_text, BOOT_ID_LEN) != BOOT_ID_LEN) {
        log_error("base", NULL, "cannot read /proc/sys/kernel/random/boot_id; is /proc mounted?");
        abort();
    }
}

const char *boot_id(void)
{
    pthread_once(&boot_id_once, read_boot_id);
    return boot_id_text;
}
