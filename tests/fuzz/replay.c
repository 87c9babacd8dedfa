/*
 * replay.c - runs a fuzz target over every file of the directories given, so that plain `meson
 * test` checks the corpus, and each crash once found stays found.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rbe");
    if (!f) {
        perror(path);
        return -1;
    }
    uint8_t *data = NULL;
    size_t size = 0, got;
    do {
        data = realloc(data, size + 65536);
        if (!data)
            abort();
        got = fread(data + size, 1, 65536, f);
        size += got;
    } while (got > 0);
    fclose(f);
    /* Exactly as many bytes as there are, so that the sanitizer sees a read past the end. */
    uint8_t *exact = realloc(data, size ? size : 1);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 0;
}

static int replay_directory(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) {
        perror(path);
        return -1;
    }
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char file[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        if (replay_file(file) < 0)
            break;
        count++;
    }
    closedir(dir);
    printf("%s: %d inputs\n", path, count);
    return count > 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    for (int i = 1; i < argc; i++)
        if (replay_directory(argv[i]) < 0)
            return 1;
    return 0;
}
