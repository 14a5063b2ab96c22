// The buttons: ask the server, and show what it said.
const shown = ["content-type", "content-length", "content-range", "content-encoding", "etag", "last-modified", "vary",
	"cache-control", "expires", "server"];

async function ask(button) {
	const {get, range, again, show} = button.dataset, headers = {};
	if (range)
		headers.Range = range;
	let answer = await fetch(get, {headers, cache: "no-store"});
	if (again !== undefined) {
		await answer.arrayBuffer();
		answer = await fetch(get, {headers: {"If-None-Match": answer.headers.get("etag")}, cache: "no-store"});
	}
	const body = await answer.arrayBuffer();
	const box = document.createElement("pre"), status = document.createElement("b");
	status.textContent = `${answer.status} ${answer.statusText}\n`;
	const fields = shown.filter(name => answer.headers.has(name)).map(name => `${name}: ${answer.headers.get(name)}`);
	box.append(status, show === undefined ? fields.join("\n") : "\n" + new TextDecoder().decode(body));
	if (show === undefined)
		box.append(`\n\n${body.byteLength} bytes of body${answer.headers.has("content-encoding") ? ", unpacked" : ""}`);
	const card = button.closest("section");
	card.querySelector("pre")?.remove();
	card.append(box);
}

document.querySelectorAll("button").forEach(button => button.addEventListener("click", () => ask(button)));
