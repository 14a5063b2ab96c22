/* count.c - a CGI program that says how many bytes its request had */
#include <stdio.h>
#include <unistd.h>

int
main(void)
{
	static char piece[65536];
	unsigned long long count = 0;
	ssize_t n;

	while ((n = read(STDIN_FILENO, piece, sizeof piece)) > 0)
		count += n;
	printf("Content-Type: text/plain\r\n\r\n%llu\n", count);
	return 0;
}
