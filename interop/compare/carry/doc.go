// Package carry has seven ways to carry messages between a client and a server, all
// with the same meaning: a channel is opened, text messages go both ways, in order,
// and none is lost unless the channel is.
//
//   - WebSocket over HTTP/1.1, HTTP/2 and HTTP/3.
//   - An event stream (Server-Sent Events) down and POST requests up, over HTTP/1.1
//     and HTTP/2.
//   - Long polling: a request that the server answers when it has messages, and POST
//     requests up, over HTTP/1.1 and HTTP/2.
//
// Order needs one POST at a time for a channel; messages that come while one is
// under way go together in the next. A poll says up to where the messages have
// come, which acknowledges them. Compression is off everywhere.
package carry
