<?php
// What came in, as PHP sees it: the variables of the request, and what a form has sent.
function row(string $name, string $value): void
{
	echo '<tr><td>', htmlspecialchars($name), '<td>', htmlspecialchars($value), "\n";
}

$file = $_FILES['file'] ?? null;
?>
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A page in PHP</title>
<link rel="stylesheet" href="/static/style.css">
<header>
	<svg viewBox="0 0 64 64" role="img" aria-label="A bear cub"><use href="/static/cub.svg#cub"/></svg>
	<div><h1>A page in PHP</h1><p>Made by PHP <?= PHP_VERSION ?> for you. <a href="/">Back to the start</a></p></div>
</header>
<main class="page">
<section>
	<h2>Send something</h2>
	<form method="post" enctype="multipart/form-data">
		<p><input type="file" name="file"> <button>Send</button></p>
	</form>
<?php if ($file && $file['error'] === UPLOAD_ERR_OK): ?>
	<table>
	<?php
	row('name', $file['name']);
	row('bytes', (string)$file['size']);
	row('sha256', hash_file('sha256', $file['tmp_name']));
	?>
	</table>
<?php endif ?>
</section>
<br>
<section>
	<h2>What PHP was told</h2>
	<table>
	<?php
	ksort($_SERVER);
	foreach ($_SERVER as $name => $value)
		if (is_string($value) && !in_array($name, ['HOME', 'USER', 'PHP_SELF', 'HTTP_AUTHORIZATION', 'HTTP_COOKIE']))
			row($name, $value);
	?>
	</table>
</section>
</main>
</html>
