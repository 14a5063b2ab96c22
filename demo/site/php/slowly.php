<?php
// An answer that takes its time: each line has to arrive when it is written, not when all are.
header('Content-Type: text/html; charset=utf-8');
while (ob_get_level())
	ob_end_flush();
echo "<!doctype html><meta name=viewport content='width=device-width, initial-scale=1'><title>Slowly</title>\n",
	"<link rel=stylesheet href=/static/style.css><h1>Slowly</h1>\n";
$seconds = min(10, max(0, (int)($_GET['seconds'] ?? 5)));
for ($i = 1; $i <= $seconds; $i++) {
	echo '<p>', $i, ' of ', $seconds, ', at ', date('H:i:s'), "\n";
	flush();
	sleep(1);
}
echo "<p>That was all. <a href=/>Back to the start</a>\n";
