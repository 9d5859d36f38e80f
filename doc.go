// Package websocket is WebSocket (RFC 6455) over HTTP/1.1, HTTP/2 (RFC 8441) and
// HTTP/3 (RFC 9220): one [Conn], whichever of them carries it.
//
// Conns are made by other packages of this module, which all have Accept for
// servers and Dial for clients: negotiate takes the bootstrap that fits, and is
// the one to begin with; h1upgrade, h2connect and h3connect are one bootstrap
// each. [New] makes a Conn on any other [Stream].
//
//	conn, err := negotiate.Accept(w, r, nil) // in an http.Handler
//	if err != nil {
//		return // refused; the response is written
//	}
//	defer conn.CloseNow()
//	t, p, err := conn.Read(r.Context())
//
// Messages are read and written whole ([Conn.Read], [Conn.Write]), as streams
// ([Conn.Reader], [Conn.Writer]), as JSON, as a net.Conn ([Conn.NetConn]), or come
// by calls of a [Handler] ([Conn.Handle]). One message goes to many sockets by
// [Broadcast].
//
// What a peer can make a socket hold, wait for or do is bounded by [Limits], all
// with finite defaults. How a socket ended is a [CloseError], and why an opening
// handshake failed a [HandshakeError].
package websocket
