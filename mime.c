/* mime.c - what kind a file is, by the end of its name: first as `types` files say, then by this table */
#include "httpd.h"

#define TEXT "; charset=utf-8\0"

/* Rows of two texts: extensions, and the type they all have; the most frequent first.  The last is empty. */
static const char types[] =
	"html htm\0text/html" TEXT
	"css\0text/css" TEXT
	"js mjs\0text/javascript" TEXT
	"svg\0image/svg+xml\0"
	"png\0image/png\0"
	"jpg jpeg\0image/jpeg\0"
	"gif\0image/gif\0"
	"ico\0image/x-icon\0"
	"json map\0application/json\0"
	"txt log conf c h sh\0text/plain" TEXT
	"webp\0image/webp\0"
	"avif\0image/avif\0"
	"bmp\0image/bmp\0"
	"woff2\0font/woff2\0"
	"woff\0font/woff\0"
	"ttf\0font/ttf\0"
	"otf\0font/otf\0"
	"xml\0application/xml\0"
	"xhtml\0application/xhtml+xml\0"
	"rss\0application/rss+xml\0"
	"atom\0application/atom+xml\0"
	"wasm\0application/wasm\0"
	"webmanifest\0application/manifest+json\0"
	"pdf\0application/pdf\0"
	"md\0text/markdown" TEXT
	"csv\0text/csv" TEXT
	"mp4\0video/mp4\0"
	"webm\0video/webm\0"
	"ogv\0video/ogg\0"
	"mkv\0video/x-matroska\0"
	"mov\0video/quicktime\0"
	"avi\0video/x-msvideo\0"
	"mpeg\0video/mpeg\0"
	"ts\0video/mp2t\0"
	"m3u8\0application/vnd.apple.mpegurl\0"
	"vtt\0text/vtt" TEXT
	"mp3\0audio/mpeg\0"
	"ogg oga opus\0audio/ogg\0"
	"wav\0audio/wav\0"
	"flac\0audio/flac\0"
	"m4a\0audio/mp4\0"
	"aac\0audio/aac\0"
	"gz tgz\0application/gzip\0"
	"zip\0application/zip\0"
	"xz\0application/x-xz\0"
	"bz2\0application/x-bzip2\0"
	"zst\0application/zstd\0"
	"7z\0application/x-7z-compressed\0"
	"tar\0application/x-tar\0"
	"apk\0application/vnd.android.package-archive\0"
	"doc\0application/msword\0"
	"odt\0application/vnd.oasis.opendocument.text\0"
	"rtf\0application/rtf\0"
	"ics\0text/calendar" TEXT
	"epub\0application/epub+zip\0"
	"crt\0application/x-x509-ca-cert\0";

static const struct span unknown = SPAN("application/octet-stream");

static struct span
built_in(struct span ext)
{
	struct span names, mime;

	for (const char *row = types; *row; row = mime.p + mime.n + 1) {
		names = span_of(row);
		mime = span_of(row + names.n + 1);
		while (names.n)
			if (span_eq_nocase(span_cut(&names, ' '), ext))
				return mime;
	}
	return unknown;
}

struct span
mime_type(struct span path)
{
	struct span ext = { path.p + path.n, 0 };

	while (ext.p > path.p && ext.p[-1] != '.' && ext.p[-1] != '/')
		ext.p--, ext.n++;
	if (!ext.n || ext.p == path.p || ext.p[-1] == '/')
		return unknown;
	for (const struct type *t = CONFIG_TYPES ? conf->types : NULL; t; t = t->next)
		if (span_eq_nocase(t->ext, ext))
			return t->mime;
	return built_in(ext);
}

bool
mime_packable(struct span mime)
{
	struct span ends = SPAN("xml json javascript wasm x-icon");
	bool packs = span_starts(mime, SPAN("text/"));

	while (ends.n && !packs)
		packs = span_ends(mime, span_cut(&ends, ' '));
	return packs;
}
