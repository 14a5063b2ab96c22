/* mime.c - what kind a file is, by the end of its name: first as `types` files say, then by this table */
#include "httpd.h"

#define TEXT "; charset=utf-8"

static const struct { struct span ext, mime; } types[] = {
	{ SPAN("html"), SPAN("text/html" TEXT) }, { SPAN("css"), SPAN("text/css" TEXT) },
	{ SPAN("js"), SPAN("text/javascript" TEXT) }, { SPAN("svg"), SPAN("image/svg+xml") },
	{ SPAN("png"), SPAN("image/png") }, { SPAN("jpg"), SPAN("image/jpeg") }, { SPAN("gif"), SPAN("image/gif") },
	{ SPAN("ico"), SPAN("image/x-icon") }, { SPAN("json"), SPAN("application/json") },
	{ SPAN("htm"), SPAN("text/html" TEXT) }, { SPAN("mjs"), SPAN("text/javascript" TEXT) },
	{ SPAN("txt"), SPAN("text/plain" TEXT) }, { SPAN("jpeg"), SPAN("image/jpeg") },
	{ SPAN("webp"), SPAN("image/webp") }, { SPAN("avif"), SPAN("image/avif") }, { SPAN("bmp"), SPAN("image/bmp") },
	{ SPAN("woff2"), SPAN("font/woff2") }, { SPAN("woff"), SPAN("font/woff") }, { SPAN("ttf"), SPAN("font/ttf") },
	{ SPAN("otf"), SPAN("font/otf") }, { SPAN("map"), SPAN("application/json") },
	{ SPAN("xml"), SPAN("application/xml") }, { SPAN("xhtml"), SPAN("application/xhtml+xml") },
	{ SPAN("rss"), SPAN("application/rss+xml") }, { SPAN("atom"), SPAN("application/atom+xml") },
	{ SPAN("wasm"), SPAN("application/wasm") }, { SPAN("webmanifest"), SPAN("application/manifest+json") },
	{ SPAN("pdf"), SPAN("application/pdf") }, { SPAN("md"), SPAN("text/markdown" TEXT) },
	{ SPAN("csv"), SPAN("text/csv" TEXT) }, { SPAN("log"), SPAN("text/plain" TEXT) },
	{ SPAN("conf"), SPAN("text/plain" TEXT) }, { SPAN("c"), SPAN("text/plain" TEXT) },
	{ SPAN("h"), SPAN("text/plain" TEXT) }, { SPAN("sh"), SPAN("text/plain" TEXT) },
	{ SPAN("mp4"), SPAN("video/mp4") }, { SPAN("webm"), SPAN("video/webm") }, { SPAN("ogv"), SPAN("video/ogg") },
	{ SPAN("mkv"), SPAN("video/x-matroska") }, { SPAN("mov"), SPAN("video/quicktime") },
	{ SPAN("avi"), SPAN("video/x-msvideo") }, { SPAN("mpeg"), SPAN("video/mpeg") }, { SPAN("ts"), SPAN("video/mp2t") },
	{ SPAN("m3u8"), SPAN("application/vnd.apple.mpegurl") }, { SPAN("vtt"), SPAN("text/vtt" TEXT) },
	{ SPAN("mp3"), SPAN("audio/mpeg") }, { SPAN("ogg"), SPAN("audio/ogg") }, { SPAN("oga"), SPAN("audio/ogg") },
	{ SPAN("opus"), SPAN("audio/ogg") }, { SPAN("wav"), SPAN("audio/wav") }, { SPAN("flac"), SPAN("audio/flac") },
	{ SPAN("m4a"), SPAN("audio/mp4") }, { SPAN("aac"), SPAN("audio/aac") },
	{ SPAN("gz"), SPAN("application/gzip") }, { SPAN("tgz"), SPAN("application/gzip") },
	{ SPAN("zip"), SPAN("application/zip") }, { SPAN("xz"), SPAN("application/x-xz") },
	{ SPAN("bz2"), SPAN("application/x-bzip2") }, { SPAN("zst"), SPAN("application/zstd") },
	{ SPAN("7z"), SPAN("application/x-7z-compressed") }, { SPAN("tar"), SPAN("application/x-tar") },
	{ SPAN("apk"), SPAN("application/vnd.android.package-archive") },
	{ SPAN("doc"), SPAN("application/msword") }, { SPAN("odt"), SPAN("application/vnd.oasis.opendocument.text") },
	{ SPAN("rtf"), SPAN("application/rtf") }, { SPAN("ics"), SPAN("text/calendar" TEXT) },
	{ SPAN("epub"), SPAN("application/epub+zip") }, { SPAN("crt"), SPAN("application/x-x509-ca-cert") },
};

struct span
mime_type(struct span path)
{
	struct span ext = { path.p + path.n, 0 };

	while (ext.p > path.p && ext.p[-1] != '.' && ext.p[-1] != '/')
		ext.p--, ext.n++;
	if (ext.p > path.p && ext.p[-1] == '.') {
		for (const struct type *t = conf->types; t; t = t->next)
			if (span_eq_nocase(t->ext, ext))
				return t->mime;
		for (unsigned i = 0; i < sizeof types / sizeof *types; i++)
			if (span_eq_nocase(types[i].ext, ext))
				return types[i].mime;
	}
	return SPAN("application/octet-stream");
}

bool
mime_packable(struct span mime)
{
	static const struct span ends[] = { SPAN("xml"), SPAN("json"), SPAN("javascript"), SPAN("wasm"), SPAN("x-icon") };

	for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++)
		if (span_ends(mime, ends[i]))
			return true;
	return span_starts(mime, SPAN("text/"));
}
