/* errors.c - what the kernel meant: the errors that can happen here, in the words that everybody knows them by
 *
 * libc's strerror brings 2 KB, and half of that is about tapes and semaphores.
 */
#include "base.h"

#include <errno.h>

#define ERRORS(ERROR) \
	ERROR(EPERM, "Operation not permitted") \
	ERROR(ENOENT, "No such file or directory") \
	ERROR(EIO, "Input/output error") \
	ERROR(E2BIG, "Argument list too long") \
	ERROR(ENOEXEC, "Exec format error") \
	ERROR(EAGAIN, "Resource temporarily unavailable") \
	ERROR(ENOMEM, "Cannot allocate memory") \
	ERROR(EACCES, "Permission denied") \
	ERROR(EBUSY, "Device or resource busy") \
	ERROR(EEXIST, "File exists") \
	ERROR(ENODEV, "No such device") \
	ERROR(ENOTDIR, "Not a directory") \
	ERROR(EISDIR, "Is a directory") \
	ERROR(EINVAL, "Invalid argument") \
	ERROR(ENFILE, "Too many open files in system") \
	ERROR(EMFILE, "Too many open files") \
	ERROR(EFBIG, "File too large") \
	ERROR(ENOSPC, "No space left on device") \
	ERROR(EROFS, "Read-only file system") \
	ERROR(EPIPE, "Broken pipe") \
	ERROR(ENAMETOOLONG, "File name too long") \
	ERROR(ENOSYS, "Function not implemented") \
	ERROR(ELOOP, "Too many levels of symbolic links") \
	ERROR(EPROTO, "Protocol error") \
	ERROR(EAFNOSUPPORT, "Address family not supported by protocol") \
	ERROR(EADDRINUSE, "Address already in use") \
	ERROR(EADDRNOTAVAIL, "Cannot assign requested address") \
	ERROR(ENETUNREACH, "Network is unreachable") \
	ERROR(ECONNRESET, "Connection reset by peer") \
	ERROR(ETIMEDOUT, "Connection timed out") \
	ERROR(ECONNREFUSED, "Connection refused") \
	ERROR(EHOSTUNREACH, "No route to host")

#define NUMBER(number, text) number,
#define TEXT(number, text) text "\0"
static const unsigned char numbers[] = { ERRORS(NUMBER) };
static const char texts[] = ERRORS(TEXT);      /* without pointers to them, which would weigh as much */

const char *
error_text(int number)
{
	static char other[sizeof "error 2147483647"];
	struct buf to = { .data = other, .size = sizeof other };
	const char *text = texts;

	for (unsigned i = 0; i < sizeof numbers; i++, text += strlen(text) + 1)
		if (numbers[i] == number)
			return text;
	buf_print(&to, "error %d", number);
	buf_char(&to, 0);
	return other;
}
