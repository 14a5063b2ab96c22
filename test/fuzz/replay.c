/* replay FOLDER...: every file of them through a fuzzer's function once, where there is no libFuzzer */
#include "fuzz.h"

#include <dirent.h>

static uint8_t data[1 << 20];

static void
one_file(const char *folder, const char *name)
{
	char path[4096];
	FILE *f;
	uint8_t *copy;
	size_t n;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	f = fopen(path, "rb");
	if (!f) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	n = fread(data, 1, sizeof data, f);
	fclose(f);
	copy = (uint8_t *)exactly(data, n);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

int
main(int argc, char **argv)
{
	unsigned files = 0;

	for (int i = 1; i < argc; i++) {
		DIR *d = opendir(argv[i]);
		const struct dirent *e;

		if (!d) {
			perror(argv[i]);
			return EXIT_FAILURE;
		}
		for (; (e = readdir(d)); files += *e->d_name != '.')
			if (*e->d_name != '.')
				one_file(argv[i], e->d_name);
		closedir(d);
	}
	printf("ok %u files\n", files);
	return files ? EXIT_SUCCESS : EXIT_FAILURE;
}
