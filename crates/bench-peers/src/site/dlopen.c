/* Opens every library of a directory, stb-000.so and so on, closes them, and does it again. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define LIBRARIES_MAX 1000

int main(int count, char **arguments)
{
    void *libraries[LIBRARIES_MAX];
    char path[4096];
    if (count != 4)
        return 2;
    int number = atoi(arguments[2]);
    if (number > LIBRARIES_MAX)
        return 2;
    for (int turn = 0; turn < atoi(arguments[3]); turn++) {
        for (int index = 0; index < number; index++) {
            snprintf(path, sizeof path, "%s/stb-%03d.so", arguments[1], index);
            libraries[index] = dlopen(path, RTLD_NOW);
            if (!libraries[index]) {
                fprintf(stderr, "%s\n", dlerror());
                return 1;
            }
        }
        for (int index = 0; index < number; index++)
            dlclose(libraries[index]);
    }
    return 0;
}
