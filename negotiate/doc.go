// Package negotiate puts the three bootstraps behind one Accept, one [Dialer]
// and one [Server]: whichever fits the request, the peer or the wish is used,
// and the socket is the same [websocket.Conn] afterwards.
//
// HTTP/3 is handed over as a value, &h3connect.Server{} and
// &h3connect.Transport{}, so that a program that does not name h3connect links
// no QUIC.
package negotiate
