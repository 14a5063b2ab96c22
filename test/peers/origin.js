// A Node server for the tests of the proxy: HTTP of several kinds, and WebSocket messages that are said back.
const http = require('http'), crypto = require('crypto');
const { WebSocketServer } = require('ws');

const server = http.createServer((request, response) => {
	const path = new URL(request.url, 'http://x').pathname;
	if (path.endsWith('/hash')) {
		const hash = crypto.createHash('sha256');
		request.on('data', piece => hash.update(piece));
		request.on('end', () => response.end(hash.digest('hex')));
	} else if (path.endsWith('/events')) {
		response.writeHead(200, { 'Content-Type': 'text/event-stream' });
		for (let i = 0; i < 3; i++)
			response.write(`data: ${i}\n\n`);
		request.on('close', () => response.end());
	} else if (path.endsWith('/trailers')) {
		response.writeHead(200, { Trailer: 'X-Sum' });
		response.write('body');
		response.addTrailers({ 'X-Sum': '7' });
		response.end();
	} else if (path.endsWith('/early')) {
		response.writeEarlyHints({ link: '</a.css>; rel=preload' });
		response.end('late');
	} else if (path.endsWith('/away')) {
		response.writeHead(302, { Location: '/app/there', 'Set-Cookie': 'a=b; Path=/app' });
		response.end();
	} else {
		response.end(JSON.stringify({ url: request.url, headers: request.headers }));
	}
});
server.on('checkContinue', (request, response) => {
	response.writeContinue();
	server.emit('request', request, response);
});
const sockets = new WebSocketServer({ server, maxPayload: 1 << 24 });
sockets.on('connection', socket => socket.on('message', (data, binary) => socket.send(data, { binary })));
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
