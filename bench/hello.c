/* hello.c - the least that a CGI program can be, linked statically */
#include <stdio.h>

int
main(void)
{
	printf("Content-Type: text/plain\r\n\r\nhello, world\n");
	return 0;
}
