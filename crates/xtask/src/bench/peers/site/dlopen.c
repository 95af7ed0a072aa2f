/* Opens every library it is told, DIRECTORY/stb-000.so and so on, and says when one does not open. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments)
{
    char path[4096];
    if (count != 3)
        return 2;
    for (int index = 0; index < atoi(arguments[2]); index++) {
        snprintf(path, sizeof path, "%s/stb-%03d.so", arguments[1], index);
        if (!dlopen(path, RTLD_NOW)) {
            fprintf(stderr, "%s\n", dlerror());
            return 1;
        }
    }
    return 0;
}
