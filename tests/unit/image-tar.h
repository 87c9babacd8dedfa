/* image-tar.h - builds tars byte by byte, so that tests can say what no tool would write. */
#ifndef IMAGE_TAR_H
#define IMAGE_TAR_H

#include <stdio.h>
#include <sys/mman.h>

#include "podd/base.h"

enum { TAR_BLOCK = 512 };

struct tar_entry {
    const char *name;
    char type; /* '0' file (also 0), '1' hard link, '2' link, '3' and '4' device, '5' dir, '6' fifo
                */
    const char *link;
    const char *data;
    unsigned mode; /* 0: 0644 or 0755 */
    unsigned uid, gid;
    unsigned major, minor;
    long mtime;
    size_t size; /* when not strlen(data) */
};

static inline void tar_pad(struct strbuf *tar)
{
    static const char zeros[TAR_BLOCK];

    if (tar->len % TAR_BLOCK)
        strbuf_add(tar, zeros, TAR_BLOCK - tar->len % TAR_BLOCK);
}

static inline void tar_octal(char *field, size_t size, unsigned long long value)
{
    char text[32];

    snprintf(text, sizeof(text), "%0*llo", (int)size - 1, value);
    memcpy(field, text, size - 1);
}

static inline void tar_header(struct strbuf *tar, const struct tar_entry *entry, size_t size)
{
    char block[TAR_BLOCK] = {0};
    char type = entry->type ? entry->type : '0';
    unsigned mode = entry->mode ? entry->mode : type == '5' ? 0755 : 0644, sum = 0;

    memcpy(block, entry->name, strnlen(entry->name, 100));
    tar_octal(block + 100, 8, mode);
    tar_octal(block + 108, 8, entry->uid);
    tar_octal(block + 116, 8, entry->gid);
    tar_octal(block + 124, 12, size);
    tar_octal(block + 136, 12, (unsigned long long)entry->mtime);
    block[156] = type;
    if (entry->link)
        memcpy(block + 157, entry->link, strnlen(entry->link, 100));
    memcpy(block + 257, "ustar\00000", 8);
    tar_octal(block + 329, 8, entry->major);
    tar_octal(block + 337, 8, entry->minor);
    memset(block + 148, ' ', 8);
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += (unsigned char)block[i];
    tar_octal(block + 148, 8, sum);
    strbuf_add(tar, block, TAR_BLOCK);
}

static inline void tar_add(struct strbuf *tar, const struct tar_entry *entry)
{
    bool is_file = !entry->type || entry->type == '0';
    size_t size = entry->size ? entry->size : is_file && entry->data ? strlen(entry->data) : 0;

    tar_header(tar, entry, size);
    if (entry->data)
        strbuf_add(tar, entry->data, size);
    tar_pad(tar);
}

/* A pax record ("size key=value\n") for the next entry. */
static inline void tar_add_pax(struct strbuf *tar, const char *key, const void *value, size_t len)
{
    size_t size = strlen(key) + len + 3, digits = 1;
    char number[24];
    struct tar_entry header = {.name = "pax", .type = 'x'};
    struct strbuf record = {0};

    while (snprintf(number, sizeof(number), "%zu", size + digits) != (int)digits)
        digits++;
    strbuf_addf(&record, "%s %s=", number, key);
    strbuf_add(&record, value, len);
    strbuf_adds(&record, "\n");
    tar_header(tar, &header, record.len);
    strbuf_add(tar, record.data, record.len);
    tar_pad(tar);
    strbuf_free(&record);
}

static inline void tar_end(struct strbuf *tar)
{
    static const char zeros[2 * TAR_BLOCK];

    strbuf_add(tar, zeros, sizeof(zeros));
}

/* The bytes as a file to read. */
static inline int memory_file(const void *data, size_t len)
{
    int fd = memfd_create("tar", MFD_CLOEXEC);

    if (fd < 0 || fd_write_all(fd, data, len) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        abort();
    return fd;
}

#endif
